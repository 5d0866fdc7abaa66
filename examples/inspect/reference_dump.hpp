#pragma once
// A dump that tools/reference_dump.py made: what another implementation computed from some ids, as a safetensors file.

#include <charconv>
#include <vector>

#include "tmodel/core/json.hpp"
#include "tmodel/core/os.hpp"
#include "tmodel/io/safetensors.hpp"

namespace inspect {

/// F32 [n, columns] in the file, whose data need not be aligned.
struct DumpedRows {
  int n = 0, columns = 0;
  std::span<const std::byte> data;
  tmodel::f32 at(int row, int column) const noexcept {
    const auto i = static_cast<std::size_t>(row) * static_cast<std::size_t>(columns) + static_cast<std::size_t>(column);
    return tmodel::load_unaligned<tmodel::f32>(data.data() + i * sizeof(tmodel::f32));
  }
};

class ReferenceDump {
 public:
  std::string path, model_type, transformers, dtype, angles;
  int rope_length = 0, start_position = 0;
  std::vector<tmodel::token_t> ids, greedy;
  std::vector<tmodel::f32> greedy_gaps;  ///< between the two best logits of each greedy step, of the largest logit

  /// Errors: io, bad_file.
  static tmodel::expected<ReferenceDump> open(const std::string& path) {
    using namespace tmodel;
    ReferenceDump dump;
    dump.path = path;
    TMODEL_TRY(dump.file_, os::MappedFile::open(path));
    TMODEL_CHECK(read_safetensors(dump.file_.bytes(), path, dump.source_));
    TMODEL_CHECK(dump.read_metadata());
    TMODEL_TRY(dump.ids, dump.numbers<token_t>("ids"));
    TMODEL_TRY(dump.greedy, dump.numbers<token_t>("greedy"));
    TMODEL_TRY(dump.greedy_gaps, dump.numbers<f32>("greedy_gaps"));
    if (dump.ids.empty() || dump.greedy_gaps.size() != dump.greedy.size())
      return dump.wrong("no ids, or not one gap for each greedy token");
    return dump;
  }

  /// An intermediate by its name, "embedding" or "3.q". Errors: bad_file (not there, or no F32 with a row for each id).
  tmodel::expected<DumpedRows> rows(const std::string& name) const {
    const tmodel::TensorInfo* t = source_.find(name);
    if (t == nullptr) return wrong("the dump lacks an intermediate that the model has", name);
    if (tmodel::stored_format_name(t->format) != "F32" || t->rank != 2 || t->shape[0] != ids.size() ||
        t->shape[1] == 0 || t->shape[1] > (1u << 30))
      return wrong("an intermediate is not F32 with a row for each id", name);
    return DumpedRows{static_cast<int>(t->shape[0]), static_cast<int>(t->shape[1]), t->data};
  }

  /// Names of all intermediates.
  std::vector<std::string_view> intermediates() const {
    std::vector<std::string_view> names;
    for (const tmodel::TensorInfo& t : source_.tensors)
      if (t.name != "ids" && t.name != "greedy" && t.name != "greedy_gaps") names.push_back(t.name);
    return names;
  }

 private:
  tmodel::unexpected<tmodel::Error> wrong(std::string_view what, std::string_view name = {}) const {
    return tmodel::fail(tmodel::Errc::bad_file, what, name.empty() ? path : path + ": " + std::string(name), {}, {},
                        "tools/reference_dump.py makes dumps, from a folder of the same model");
  }

  /// read_safetensors() checks the header's __metadata__ and drops it: here it is read.
  tmodel::expected<void> read_metadata() {
    using namespace tmodel;
    const auto text = detail::as_text(file_.bytes());
    const auto length = static_cast<std::size_t>(load_unaligned<std::uint64_t>(file_.bytes().data()));
    TMODEL_TRY(const JsonDocument header, JsonDocument::parse(text.substr(8, length), path));
    const Json metadata = header.root()["__metadata__"];
    if (metadata["format"].string() != "tmodel reference dump 1") return wrong("not a reference dump");
    model_type = metadata["model_type"].string(), transformers = metadata["transformers"].string();
    dtype = metadata["dtype"].string(), angles = metadata["angles"].string();
    const auto number = [&](std::string_view key, int& out) {
      const std::string_view digits = metadata[key].string();
      return std::from_chars(digits.data(), digits.data() + digits.size(), out).ec == std::errc() && out >= 0;
    };
    if (!number("rope_length", rope_length) || !number("start_position", start_position))
      return wrong("no rope_length or start_position");
    return {};
  }

  template <class T>
  tmodel::expected<std::vector<T>> numbers(const char* name) const {
    using namespace tmodel;
    constexpr std::string_view stored = std::is_same_v<T, f32> ? "F32" : "I64";
    const TensorInfo* t = source_.find(name);
    if (t == nullptr || t->rank != 1 || stored_format_name(t->format) != stored)
      return wrong("not a list of " + std::string(stored), name);
    std::vector<T> out;
    using Stored = std::conditional_t<std::is_same_v<T, f32>, f32, std::int64_t>;
    for (std::size_t at = 0; at < t->data.size(); at += sizeof(Stored)) {
      const auto value = load_unaligned<Stored>(t->data.data() + at);
      if constexpr (std::is_integral_v<Stored>)
        if (value < 0 || value > 0x7FFFFFFF) return wrong("an impossible token id", name);
      out.push_back(static_cast<T>(value));
    }
    return out;
  }

  tmodel::os::MappedFile file_;
  tmodel::TensorSource source_;
};

}  // namespace inspect
