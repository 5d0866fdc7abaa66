#pragma once
// Touches all that a reader promised of a model: every byte of every tensor, every array, every text.
// A promise that reaches outside the file is then seen by the address sanitizer.

#include <cstdint>
#include <string_view>
#include <variant>

#include "tmodel/core/json.hpp"
#include "tmodel/io/model_files.hpp"

namespace tmodel::testing {

/// A number that depends on every byte; the caller keeps it, so that no read is optimised away.
inline std::uint64_t read_everything(const TensorSource& source) {
  std::uint64_t sum = 0;
  const auto add = [&](std::uint64_t value) { sum = sum * 31 + value; };
  const auto add_bytes = [&](std::span<const std::byte> bytes) {
    for (const std::byte b : bytes) add(std::to_integer<std::uint64_t>(b));
  };
  for (const TensorInfo& t : source.tensors) {
    add_bytes(t.data);
    std::uint64_t product = 1;
    for (int i = 0; i < t.rank; ++i) product *= t.shape[static_cast<std::size_t>(i)];
    add(product);
    add(source.find(t.name) == &t);
  }
  for (const auto& [key, value] : source.metadata.all()) {
    add(key.size() + value.index());
    add(static_cast<std::uint64_t>(source.metadata.integer(key).value_or(0)));
    add(source.metadata.number(key).has_value());
    if (const auto text = source.metadata.string(key)) add_bytes(std::as_bytes(std::span(*text)));
    if (const MetaArray* array = source.metadata.array(key)) {
      add_bytes(array->raw);
      for (MetaReader r(*array); !r.done();) add_bytes(std::as_bytes(std::span(r.string())));
      for (MetaReader r(*array); !r.done();) add(r.number() != 0);
    }
  }
  return sum;
}

/// The same for a model with its texts, which are parsed as well.
inline std::uint64_t read_everything(const ModelFiles& model) {
  std::uint64_t sum = read_everything(model.source);
  for (const std::string_view text : {model.tokenizer_json, model.tokenizer_config_json, model.generation_config_json,
                                      model.special_tokens_map_json, model.chat_template_json}) {
    const auto document = JsonDocument::parse(text, "text");
    if (document)
      for (Json item = document->root().first(); item; item = item.next())
        sum = sum * 31 + item.key().size() + item.size();
  }
  for (const char c : model.chat_template_jinja) sum = sum * 31 + static_cast<unsigned char>(c);
  for (const char c : model.tokenizer_model) sum = sum * 31 + static_cast<unsigned char>(c);
  return sum;
}

/// Whether the whole text is UTF-8 and one line, as every error message must be.
inline bool is_one_line_of_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t n = detail::utf8_length(text);
    if (n == 0 || text[0] == '\n') return false;
    text.remove_prefix(n);
  }
  return true;
}

}  // namespace tmodel::testing
