#pragma once
// GGUF, versions 2 and 3, little endian: one file -> tensors and metadata, in place.
// Layout: ggml's docs/gguf.md; where that and ggml's reader differ, the comment says which one is followed.

#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "tmodel/io/file_limits.hpp"
#include "tmodel/io/foreign_files.hpp"
#include "tmodel/io/stored_formats.hpp"
#include "tmodel/io/tensor_source.hpp"

namespace tmodel::inline v0 {

constexpr std::string_view name_of(MetaType type) noexcept {
  switch (type) {
    case MetaType::u8:
      return "u8";
    case MetaType::i8:
      return "i8";
    case MetaType::u16:
      return "u16";
    case MetaType::i16:
      return "i16";
    case MetaType::u32:
      return "u32";
    case MetaType::i32:
      return "i32";
    case MetaType::f32:
      return "f32";
    case MetaType::boolean:
      return "bool";
    case MetaType::string:
      return "string";
    case MetaType::array:
      return "array";
    case MetaType::u64:
      return "u64";
    case MetaType::i64:
      return "i64";
    case MetaType::f64:
      return "f64";
  }
  return "unknown";
}

inline bool is_gguf(std::span<const std::byte> bytes) noexcept { return detail::as_text(bytes).starts_with("GGUF"); }

namespace detail {

/// Reads one GGUF file from front to back. Everything is compared with what is left of the file before it is used.
class GgufReader {
 public:
  GgufReader(std::span<const std::byte> bytes, std::string_view where) : bytes_(bytes), where_(where) {}

  expected<TensorSource> read() {
    source_.metadata.dialect = Dialect::gguf;
    source_.metadata.where = where_;
    std::uint64_t tensor_count = 0, key_count = 0;
    TMODEL_CHECK(header(tensor_count, key_count));
    for (std::uint64_t i = 0; i < key_count; ++i) TMODEL_CHECK(key_value(i));
    source_.tensors.reserve(static_cast<std::size_t>(tensor_count));
    for (std::uint64_t i = 0; i < tensor_count; ++i) TMODEL_CHECK(tensor_info(i));
    TMODEL_CHECK(place_data());
    if (auto sorted = source_.sort(); !sorted)
      return fail(Errc::bad_file, "a tensor name stands twice", tensor(sorted.error().where));
    return std::move(source_);
  }

 private:
  std::size_t left() const noexcept { return bytes_.size() - at_; }
  std::string tensor(std::string_view name) const { return std::string(where_) + ": tensor " + printable(name); }
  std::string key(std::string_view name) const { return std::string(where_) + ": key " + printable(name); }

  tl::unexpected<Error> truncated(std::string_view part) const {
    return fail(Errc::bad_file, "the file ends inside " + std::string(part), where_, {},
                std::to_string(bytes_.size()) + " bytes", "the file is damaged or its download was cut off");
  }

  template <class T>
  expected<T> take(std::string_view part) {
    if (left() < sizeof(T)) return truncated(part);
    const T value = load_unaligned<T>(bytes_.data() + at_);
    at_ += sizeof(T);
    return value;
  }

  expected<std::string_view> take_text(std::uint64_t most, std::string_view part) {
    TMODEL_TRY(const std::uint64_t length, take<std::uint64_t>(part));
    if (length > left()) return truncated(part);
    if (length > most)
      return fail(Errc::bad_file, std::string(part) + " is too long", where_,
                  "at most " + std::to_string(most) + " bytes", std::to_string(length));
    const std::string_view text = as_text(bytes_.subspan(at_, static_cast<std::size_t>(length)));
    at_ += static_cast<std::size_t>(length);
    return text;
  }

  expected<void> header(std::uint64_t& tensor_count, std::uint64_t& key_count) {
    if (!is_gguf(bytes_)) return fail_foreign(bytes_, where_, "a GGUF file");
    at_ = 4;
    TMODEL_TRY(const std::uint32_t version, take<std::uint32_t>("the header"));
    if (version != 0 && (version & 0xFFFFu) == 0)  // ggml's test: a small number read in the wrong byte order
      return fail(Errc::unsupported, "a big-endian GGUF file", where_, "little endian", {},
                  "convert it with llama.cpp's gguf_convert_endian.py, or get the usual file");
    if (version == 1)
      return fail(Errc::unsupported, "GGUF version 1", where_, "version 2 or 3", {},
                  "get a newer file, or convert the model again");
    if (version != 2 && version != 3)
      return fail(Errc::unsupported, "this GGUF version", where_, "version 2 or 3",
                  std::to_string(version));
    TMODEL_TRY(tensor_count, take<std::uint64_t>("the header"));
    TMODEL_TRY(key_count, take<std::uint64_t>("the header"));
    // Shortest possible entries: a name of one byte, no dimension; a key of one byte with a one-byte value.
    TMODEL_CHECK(check_count(tensor_count, 8 + 1 + 4 + 4 + 8, file_limits::tensors, "tensor count"));
    return check_count(key_count, 8 + 1 + 4 + 1, file_limits::keys, "key count");
  }

  expected<void> check_count(std::uint64_t count, std::uint64_t least_bytes, std::uint64_t most,
                             std::string_view what) const {
    const std::uint64_t fitting = left() / least_bytes;
    if (count <= fitting && count <= most) return {};
    return fail(Errc::bad_file, std::string(what) + " is impossible", where_,
                "at most " + std::to_string(fitting < most ? fitting : most), std::to_string(count),
                "the file is damaged or its download was cut off");
  }

  expected<void> key_value(std::uint64_t index) {
    TMODEL_TRY(const std::string_view name, take_text(file_limits::key_bytes, "a key"));
    if (name.empty()) return fail(Errc::bad_file, "key " + std::to_string(index) + " has no name", where_);
    TMODEL_TRY(const std::uint32_t type, take<std::uint32_t>("a key's type"));
    TMODEL_TRY(MetaValue content, value(type, name));
    if (!source_.metadata.insert(std::string(name), std::move(content)))
      return fail(Errc::bad_file, "a key stands twice", key(name));
    return {};
  }

  template <class T, class Wide>
  expected<MetaValue> number(std::string_view name) {
    TMODEL_TRY(const T value, take<T>("the value of key " + std::string(name)));
    return MetaValue(static_cast<Wide>(value));
  }

  expected<MetaValue> value(std::uint32_t type, std::string_view name) {
    switch (static_cast<MetaType>(type)) {
      case MetaType::u8:
        return number<std::uint8_t, std::uint64_t>(name);
      case MetaType::u16:
        return number<std::uint16_t, std::uint64_t>(name);
      case MetaType::u32:
        return number<std::uint32_t, std::uint64_t>(name);
      case MetaType::u64:
        return number<std::uint64_t, std::uint64_t>(name);
      case MetaType::i8:
        return number<std::int8_t, std::int64_t>(name);
      case MetaType::i16:
        return number<std::int16_t, std::int64_t>(name);
      case MetaType::i32:
        return number<std::int32_t, std::int64_t>(name);
      case MetaType::i64:
        return number<std::int64_t, std::int64_t>(name);
      case MetaType::f32:
        return number<f32, f64>(name);
      case MetaType::f64:
        return number<f64, f64>(name);
      case MetaType::boolean: {
        TMODEL_TRY(const std::uint8_t byte, take<std::uint8_t>("the value of key " + std::string(name)));
        if (byte > 1) return fail(Errc::bad_file, "not a truth value", key(name), "0 or 1", std::to_string(byte));
        return MetaValue(byte != 0);
      }
      case MetaType::string: {
        TMODEL_TRY(const std::string_view text,
                   take_text(file_limits::string_bytes, "the value of key " + std::string(name)));
        return MetaValue(std::string(text));
      }
      case MetaType::array:
        return array(name);
    }
    return fail(Errc::bad_file, "unknown value type", key(name), "0 to 12", std::to_string(type));
  }

  expected<MetaValue> array(std::string_view name) {
    const std::string part = "the array of key " + std::string(name);
    TMODEL_TRY(const std::uint32_t id, take<std::uint32_t>(part));
    TMODEL_TRY(const std::uint64_t count, take<std::uint64_t>(part));
    const auto type = static_cast<MetaType>(id);
    // The document allows arrays of arrays; ggml's reader refuses them and no known file has one.
    if (type == MetaType::array) return fail(Errc::unsupported, "an array of arrays", key(name));
    const std::size_t begin = at_;
    if (type == MetaType::string) {
      if (count > left() / 8) return truncated(part);
      for (std::uint64_t i = 0; i < count; ++i) {
        if (left() < 8) return truncated(part);
        const auto length = load_unaligned<std::uint64_t>(bytes_.data() + at_);
        if (length > left() - 8) return truncated(part);
        at_ += 8 + static_cast<std::size_t>(length);
      }
    } else {
      const std::size_t width = size_of(type);
      if (width == 0) return fail(Errc::bad_file, "unknown element type", key(name), "0 to 12", std::to_string(id));
      if (count > left() / width) return truncated(part);
      at_ += static_cast<std::size_t>(count) * width;
      if (type == MetaType::boolean)
        for (const std::byte byte : bytes_.subspan(begin, at_ - begin))
          if (std::to_integer<unsigned>(byte) > 1)
            return fail(Errc::bad_file, "not a truth value", key(name), "0 or 1",
                        std::to_string(std::to_integer<unsigned>(byte)));
    }
    return MetaValue(MetaArray{type, count, bytes_.subspan(begin, at_ - begin)});
  }

  /// Fills everything but `data`; `offset` is still the one of the file, from the start of the data section.
  expected<void> tensor_info(std::uint64_t index) {
    const std::string part = "the description of tensor " + std::to_string(index);
    TMODEL_TRY(const std::string_view name, take_text(file_limits::tensor_name_bytes, "a tensor's name"));
    if (name.empty())
      return fail(Errc::bad_file, "tensor " + std::to_string(index) + " has no name", where_);
    TMODEL_TRY(const std::uint32_t rank, take<std::uint32_t>(part));
    if (rank > gguf_max_rank)
      return fail(Errc::bad_file, "too many dimensions", tensor(name), "at most 4", std::to_string(rank));
    TensorInfo info;
    info.name = name;
    info.rank = static_cast<int>(rank);
    for (std::uint32_t i = rank; i-- > 0;) {  // fastest first in the file, outermost first in memory
      TMODEL_TRY(info.shape[i], take<std::uint64_t>(part));
    }
    TMODEL_TRY(info.format, take<std::uint32_t>(part));
    TMODEL_TRY(info.offset, take<std::uint64_t>(part));
    source_.tensors.push_back(std::move(info));
    return {};
  }

  /// Bytes of a tensor's data. A tensor without dimensions is one number, as in ggml.
  expected<std::uint64_t> data_bytes(const TensorInfo& t) const {
    const StoredFormat* format = t.format < first_private_format ? find_stored_format(t.format) : nullptr;
    if (format == nullptr)
      return fail(Errc::unsupported, "unknown or removed tensor format", tensor(t.name), {},
                  "id " + std::to_string(t.format),
                  t.format >= 97 && t.format < 1000
                      ? "ids of this range are ik_llama.cpp's own; other programs cannot read them"
                      : "");
    const std::span shape = std::span(t.shape).first(static_cast<std::size_t>(t.rank));
    std::uint64_t elements = 0, bytes = 0;
    if (!count_elements(shape, elements)) return fail(Errc::bad_file, "impossible shape", tensor(t.name));
    const std::uint64_t row = shape.empty() ? 1 : shape.back();
    if (row % format->block_len != 0)
      return fail(Errc::bad_file, "rows do not fill whole blocks", tensor(t.name),
                  "a multiple of " + std::to_string(format->block_len) + " for " + std::string(format->name),
                  std::to_string(row));
    if (!stored_bytes(*format, elements, bytes)) return fail(Errc::bad_file, "impossible size", tensor(t.name));
    return bytes;
  }

  expected<std::uint64_t> alignment() const {
    constexpr std::string_view name = "general.alignment";
    if (!source_.metadata.has(name)) return std::uint64_t{32};
    const auto value = source_.metadata.integer(name);  // any width: u32 by the document, others occur
    const auto n = static_cast<std::uint64_t>(value.value_or(0));
    if (!value || *value <= 0 || (n & (n - 1)) != 0 || n > file_limits::alignment)
      return fail(Errc::bad_file, "impossible alignment", key(name),
                  "a power of two up to " + std::to_string(file_limits::alignment),
                  value ? std::to_string(*value) : "not a whole number");
    return n;
  }

  /// Gives every tensor its bytes. ggml demands that tensors stand back to back in the order of their descriptions;
  /// the document only that each is aligned. Any order and any padding is taken, an overlap is not.
  expected<void> place_data() {
    TMODEL_TRY(const std::uint64_t step, alignment());
    const std::uint64_t begin = (at_ + step - 1) / step * step;
    const std::uint64_t section = begin < bytes_.size() ? bytes_.size() - begin : 0;  // vocabulary-only files have none
    for (TensorInfo& t : source_.tensors) {
      TMODEL_TRY(const std::uint64_t size, data_bytes(t));
      if (t.offset % step != 0)
        return fail(Errc::bad_file, "data is not aligned", tensor(t.name), "a multiple of " + std::to_string(step),
                    std::to_string(t.offset));
      if (t.offset > section || size > section - t.offset)
        return fail(Errc::bad_file, "data reaches past the end of the file", tensor(t.name),
                    std::to_string(size) + " bytes at " + std::to_string(t.offset),
                    "a data section of " + std::to_string(section) + " bytes",
                    "the file is damaged or its download was cut off");
      t.offset += begin;
      if (size != 0) t.data = bytes_.subspan(static_cast<std::size_t>(t.offset), static_cast<std::size_t>(size));
    }
    return refuse_overlap();
  }

  expected<void> refuse_overlap() {
    auto& tensors = source_.tensors;
    std::sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) { return a.offset < b.offset; });
    const TensorInfo* last = nullptr;  // that has data; an empty tensor may stand anywhere
    for (const TensorInfo& t : tensors) {
      if (t.data.empty()) continue;
      if (last != nullptr && t.offset - last->offset < last->data.size())
        return fail(Errc::bad_file, "data overlaps that of " + printable(last->name), tensor(t.name));
      last = &t;
    }
    return {};
  }

  static constexpr std::uint32_t gguf_max_rank = 4;
  std::span<const std::byte> bytes_;
  std::string_view where_;
  std::size_t at_ = 0;
  TensorSource source_;
};

}  // namespace detail

/// Reads one GGUF file that lies in memory. Replaces `into.metadata` and `into.tensors` (sorted by name) and leaves
/// `into.files` alone; after an error `into` is as before. Tensors and arrays point into `bytes`, which must outlive
/// them. Shapes come out row-major, outermost first. A part of a split file is read as the file that it is.
/// Errors: bad_file, unsupported (version 1, big endian, unknown tensor format, arrays of arrays), out_of_memory.
inline expected<void> read_gguf(std::span<const std::byte> bytes, std::string_view where, TensorSource& into) {
  return guard([&]() -> expected<void> {
    TMODEL_TRY(TensorSource source, detail::GgufReader(bytes, where).read());
    into.metadata = std::move(source.metadata);
    into.tensors = std::move(source.tensors);
    return {};
  });
}

}  // namespace tmodel::inline v0
