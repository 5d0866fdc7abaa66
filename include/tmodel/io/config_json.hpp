#pragma once
// config.json and generation_config.json -> Metadata: nested dictionaries flattened with dots, lists in GGUF's
// encoding. What the keys mean is the families' business.

#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tmodel/core/json.hpp"
#include "tmodel/core/metadata.hpp"
#include "tmodel/io/file_limits.hpp"
#include "tmodel/io/foreign_files.hpp"

namespace tmodel::inline v0 {

namespace detail {

/// Walks a configuration and inserts its leaves. Depth is bounded by json_max_depth, output by file_limits.
class ConfigFlattener {
 public:
  ConfigFlattener(Metadata& into, std::string_view where) noexcept : into_(into), where_(where) {}

  expected<void> object(Json dictionary, const std::string& prefix) {
    for (Json item = dictionary.first(); item; item = item.next()) {
      key_bytes_ += prefix.size() + item.key().size();
      if (++keys_ > file_limits::keys || key_bytes_ > file_limits::config_key_bytes)
        return fail(Errc::bad_file, "too many keys, or too deeply nested ones", where_);
      std::string key = prefix + std::string(item.key());
      if (item.is_object() && item.size() != 0)
        TMODEL_CHECK(object(item, key + "."));
      else
        into_.assign(std::move(key), leaf(item));
    }
    return {};
  }

 private:
  /// An empty dictionary says as much as null: the key is there, with nothing in it.
  MetaValue leaf(Json item) {
    switch (item.type()) {
      case JsonType::boolean:
        return item.boolean();
      case JsonType::integer:
      case JsonType::unsigned_integer:
        if (const auto n = item.integer()) return *n;
        return *item.number();  // 2^63 or more: nothing that a model counts, so its last digits do not matter
      case JsonType::number:
        return *item.number();
      case JsonType::string:
        return std::string(item.string());
      case JsonType::array:
        return list(item);
      default:
        return std::monostate();
    }
  }

  /// A list of scalars of one kind. Others (lists of lists, of dictionaries, mixed, with nulls) are noted, not read:
  /// an array of type `array` with the right count and no bytes.
  MetaValue list(Json items) {
    MetaArray array{MetaType::i64, items.size(), {}};
    bool integers = true, numbers = true, strings = true, booleans = true;
    for (Json item = items.first(); item; item = item.next()) {
      integers = integers && item.is_integer() && item.integer();
      numbers = numbers && item.is_number();
      strings = strings && item.is_string();
      booleans = booleans && item.is_bool();
    }
    std::vector<std::byte> bytes;
    const auto put = [&](const void* from, std::size_t n) {
      const std::size_t at = bytes.size();
      bytes.resize(at + n);
      if (n != 0) std::memcpy(bytes.data() + at, from, n);
    };
    if (!integers && !numbers && !strings && !booleans) {
      array.type = MetaType::array;
      return array;
    }
    array.type = integers ? MetaType::i64 : numbers ? MetaType::f64 : strings ? MetaType::string : MetaType::boolean;
    for (Json item = items.first(); item; item = item.next()) {
      if (integers) {
        const std::int64_t value = *item.integer();
        put(&value, sizeof value);
      } else if (numbers) {
        const f64 value = *item.number();
        put(&value, sizeof value);
      } else if (strings) {
        const std::uint64_t length = item.string().size();
        put(&length, sizeof length);
        put(item.string().data(), item.string().size());
      } else {
        const std::uint8_t value = item.boolean() ? 1 : 0;
        put(&value, sizeof value);
      }
    }
    if (!bytes.empty()) array.raw = into_.own(std::move(bytes));
    return array;
  }

  Metadata& into_;
  std::string_view where_;
  std::uint64_t keys_ = 0;
  std::size_t key_bytes_ = 0;
};

}  // namespace detail

/// Adds a configuration's keys to `into`, each with `prefix` before it: {"rope_scaling": {"factor": 8}} becomes
/// "rope_scaling.factor". Integers become i64, other numbers f64, lists of scalars arrays that `into` owns; null and {}
/// become monostate. A key that is there already is replaced; after an error some keys are. Errors: bad_file,
/// out_of_memory.
inline expected<void> read_config(std::span<const std::byte> bytes, std::string_view where, std::string_view prefix,
                                  Metadata& into) {
  return guard([&]() -> expected<void> {
    const std::string_view text = detail::as_text(bytes);
    if (bytes.size() > file_limits::config_bytes)
      return fail(Errc::bad_file, "the file is too long for a configuration", where,
                  "at most " + std::to_string(file_limits::config_bytes) + " bytes", std::to_string(bytes.size()));
    if (recognize_foreign(bytes)) return fail_foreign(bytes, where, "a JSON file");
    TMODEL_TRY(const JsonDocument document, JsonDocument::parse(text, where));
    if (!document.root().is_object())
      return fail(Errc::bad_file, "the configuration is not a JSON object", where);
    return detail::ConfigFlattener(into, where).object(document.root(), std::string(prefix));
  });
}

}  // namespace tmodel::inline v0
