#pragma once
// What a model file says of itself: key -> value, the same shape for GGUF key-values and for config.json.
// config.json is flattened with dots ("rope_scaling.factor"); lists become arrays in GGUF's encoding.

#include <cmath>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "tmodel/core/error.hpp"

namespace tmodel::inline v0 {

/// Value types with GGUF's numbers.
enum class MetaType : std::uint32_t {
  u8 = 0, i8 = 1, u16 = 2, i16 = 3, u32 = 4, i32 = 5, f32 = 6, boolean = 7, string = 8, array = 9, u64 = 10, i64 = 11, f64 = 12
};

/// Bytes of one value in the file; 0 for strings and arrays.
constexpr std::size_t size_of(MetaType type) noexcept {
  switch (type) {
    case MetaType::u8: case MetaType::i8: case MetaType::boolean: return 1;
    case MetaType::u16: case MetaType::i16: return 2;
    case MetaType::u32: case MetaType::i32: case MetaType::f32: return 4;
    case MetaType::u64: case MetaType::i64: case MetaType::f64: return 8;
    default: return 0;
  }
}

/// An array as it stands in the file: elements back to back, strings with a u64 length before them.
/// Validated by the reader that made it; the bytes belong to the file's mapping or to the Metadata.
struct MetaArray {
  MetaType type = MetaType::u8;
  std::uint64_t count = 0;
  std::span<const std::byte> raw;
};

/// Walks an array. Reading past its end gives zeros and empty strings.
class MetaReader {
 public:
  explicit MetaReader(const MetaArray& array) noexcept : type_(array.type), left_(array.count), raw_(array.raw) {}
  bool done() const noexcept { return left_ == 0; }
  std::string_view string() noexcept {
    if (type_ != MetaType::string || raw_.size() < 8) return skip();
    const auto length = load_unaligned<std::uint64_t>(raw_.data());
    if (length > raw_.size() - 8) return skip();
    const std::string_view text(reinterpret_cast<const char*>(raw_.data() + 8), static_cast<std::size_t>(length));
    raw_ = raw_.subspan(8 + static_cast<std::size_t>(length));
    --left_;
    return text;
  }
  f64 number() noexcept {
    const std::size_t n = size_of(type_);
    if (left_ == 0 || n == 0 || raw_.size() < n) return (skip(), 0);
    const std::byte* p = raw_.data();
    raw_ = raw_.subspan(n);
    --left_;
    switch (type_) {
      case MetaType::u8: case MetaType::boolean: return load_unaligned<std::uint8_t>(p);
      case MetaType::i8: return load_unaligned<std::int8_t>(p);
      case MetaType::u16: return load_unaligned<std::uint16_t>(p);
      case MetaType::i16: return load_unaligned<std::int16_t>(p);
      case MetaType::u32: return load_unaligned<std::uint32_t>(p);
      case MetaType::i32: return load_unaligned<std::int32_t>(p);
      case MetaType::f32: return load_unaligned<f32>(p);
      case MetaType::u64: return static_cast<f64>(load_unaligned<std::uint64_t>(p));
      case MetaType::i64: return static_cast<f64>(load_unaligned<std::int64_t>(p));
      case MetaType::f64: return load_unaligned<f64>(p);
      default: return 0;
    }
  }

 private:
  std::string_view skip() noexcept { return (left_ = 0, std::string_view()); }
  MetaType type_;
  std::uint64_t left_;
  std::span<const std::byte> raw_;
};

/// null stands for JSON's null: the key is there and says "none".
using MetaValue = std::variant<std::monostate, bool, std::int64_t, std::uint64_t, f64, std::string, MetaArray>;

/// Which names the keys have: GGUF's ("llama.block_count") or config.json's ("num_hidden_layers").
enum class Dialect : std::uint8_t { gguf, huggingface };

class Metadata {
 public:
  Dialect dialect = Dialect::gguf;
  std::string where;  ///< file that the keys come from, for errors

  /// False if the key is there already.
  bool insert(std::string key, MetaValue value) { return values_.emplace(std::move(key), std::move(value)).second; }
  void assign(std::string key, MetaValue value) { values_.insert_or_assign(std::move(key), std::move(value)); }
  /// Keeps the bytes of an array that is not in a mapped file; the span stays valid as long as the Metadata.
  std::span<const std::byte> own(std::vector<std::byte> bytes) { return owned_.emplace_back(std::move(bytes)); }

  const MetaValue* find(std::string_view key) const {
    const auto it = values_.find(key);
    return it == values_.end() ? nullptr : &it->second;
  }
  bool has(std::string_view key) const { return find(key) != nullptr; }
  /// Present and not null.
  bool has_value(std::string_view key) const {
    const MetaValue* v = find(key);
    return v != nullptr && !std::holds_alternative<std::monostate>(*v);
  }
  const auto& all() const noexcept { return values_; }

  /// The value if the key is there with a fitting type. Any integer width is accepted; 3.0 counts as 3.
  std::optional<std::int64_t> integer(std::string_view key) const {
    const MetaValue* v = find(key);
    if (v == nullptr) return std::nullopt;
    if (const auto* i = std::get_if<std::int64_t>(v)) return *i;
    if (const auto* u = std::get_if<std::uint64_t>(v))
      return *u <= 0x7FFFFFFFFFFFFFFFu ? std::optional(static_cast<std::int64_t>(*u)) : std::nullopt;
    if (const auto* d = std::get_if<f64>(v); d && *d == std::floor(*d) && std::fabs(*d) < 0x1p53)
      return static_cast<std::int64_t>(*d);
    return std::nullopt;
  }
  std::optional<f64> number(std::string_view key) const {
    const MetaValue* v = find(key);
    if (v == nullptr) return std::nullopt;
    if (const auto* d = std::get_if<f64>(v)) return *d;
    if (const auto i = integer(key)) return static_cast<f64>(*i);
    return std::nullopt;
  }
  std::optional<bool> boolean(std::string_view key) const {
    const MetaValue* v = find(key);
    const auto* b = v ? std::get_if<bool>(v) : nullptr;
    return b ? std::optional(*b) : std::nullopt;
  }
  std::optional<std::string_view> string(std::string_view key) const {
    const MetaValue* v = find(key);
    const auto* s = v ? std::get_if<std::string>(v) : nullptr;
    return s ? std::optional<std::string_view>(*s) : std::nullopt;
  }
  const MetaArray* array(std::string_view key) const {
    const MetaValue* v = find(key);
    return v ? std::get_if<MetaArray>(v) : nullptr;
  }

 private:
  std::map<std::string, MetaValue, std::less<>> values_;
  std::vector<std::vector<std::byte>> owned_;  // their bytes stay where they are when the outer vector grows or moves
};

}  // namespace tmodel::inline v0
