#pragma once
// Writers of GGUF and safetensors files for tests: to memory, with every field open to be made wrong.
// Layout: ggml's docs/gguf.md and the README of safetensors; written independently of the library's readers.

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

/// The message holds this part.
#define EXPECT_SAYS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

namespace tmodel::testing {

/// The bytes of a string, as the readers take them.
inline std::span<const std::byte> bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

/// Appends a number's little-endian bytes.
template <class T>
void put(std::string& out, T value) {
  static_assert(std::is_arithmetic_v<T>);
  char raw[sizeof value];
  std::memcpy(raw, &value, sizeof value);
  out.append(raw, sizeof value);
}

/// The bytes of a list of numbers, back to back.
template <class T>
std::string packed(const std::vector<T>& values) {
  std::string out;
  for (const T value : values) put(out, value);
  return out;
}

/// GGUF's number of a value type.
template <class T>
constexpr std::uint32_t gguf_type_of() {
  if constexpr (std::is_same_v<T, std::uint8_t>)
    return 0;
  else if constexpr (std::is_same_v<T, std::int8_t>)
    return 1;
  else if constexpr (std::is_same_v<T, std::uint16_t>)
    return 2;
  else if constexpr (std::is_same_v<T, std::int16_t>)
    return 3;
  else if constexpr (std::is_same_v<T, std::uint32_t>)
    return 4;
  else if constexpr (std::is_same_v<T, std::int32_t>)
    return 5;
  else if constexpr (std::is_same_v<T, float>)
    return 6;
  else if constexpr (std::is_same_v<T, bool>)
    return 7;
  else if constexpr (std::is_same_v<T, std::uint64_t>)
    return 10;
  else if constexpr (std::is_same_v<T, std::int64_t>)
    return 11;
  else if constexpr (std::is_same_v<T, double>)
    return 12;
  else
    return 8;  // anything that a std::string_view takes
}

/// Writes a GGUF file. add() takes the value type from the C++ type; tensors are placed back to back, aligned.
class GgufBuilder {
 public:
  /// What is written of a tensor; change any of it before build().
  struct Tensor {
    std::string name;
    std::vector<std::uint64_t> dims;  ///< as in the file: fastest first
    std::uint32_t format = 0;
    std::string data;
    std::optional<std::uint32_t> rank;      ///< instead of dims.size()
    std::optional<std::uint64_t> offset{};  ///< instead of the computed one
  };

  std::string magic = "GGUF";
  std::uint32_t version = 3;
  std::uint64_t alignment = 32;               ///< padding that build() makes; says nothing in the file by itself
  std::optional<std::uint64_t> tensor_count;  ///< instead of the true ones
  std::optional<std::uint64_t> key_count;
  std::vector<Tensor> tensors;

  template <class T>
  GgufBuilder& add(std::string_view key, const T& value) {
    begin_key(key, gguf_type_of<T>());
    append(keys_, value);
    return *this;
  }
  template <class T>
  GgufBuilder& add_array(std::string_view key, const std::vector<T>& values) {
    begin_key(key, 9);
    put(keys_, gguf_type_of<T>());
    put(keys_, std::uint64_t{values.size()});
    for (const T& value : values) append(keys_, value);
    return *this;
  }
  /// A key with any type number and any bytes as its value.
  GgufBuilder& add_raw(std::string_view key, std::uint32_t type, std::string_view value) {
    begin_key(key, type);
    keys_ += value;
    return *this;
  }
  /// `shape` is row-major, outermost first, as the library shows it.
  GgufBuilder& tensor(std::string name, std::uint32_t format, const std::vector<std::uint64_t>& shape,
                      std::string data) {
    tensors.push_back({std::move(name), {shape.rbegin(), shape.rend()}, format, std::move(data), {}, {}});
    return *this;
  }

  std::string build() const {
    std::string out = magic;
    put(out, version);
    put(out, tensor_count.value_or(tensors.size()));
    put(out, key_count.value_or(key_total_));
    out += keys_;
    std::string data;
    for (const Tensor& t : tensors) {
      pad(data);
      append(out, t.name);
      put(out, t.rank.value_or(static_cast<std::uint32_t>(t.dims.size())));
      for (const std::uint64_t dim : t.dims) put(out, dim);
      put(out, t.format);
      put(out, t.offset.value_or(data.size()));
      data += t.data;
    }
    if (!tensors.empty()) pad(out);
    return out + data;
  }

  /// The value of a string or array as it stands in the file, for add_raw.
  static std::string string_bytes(std::string_view text) {
    std::string out;
    append(out, text);
    return out;
  }

 private:
  template <class T>
  static void append(std::string& out, const T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      out += value ? '\1' : '\0';
    } else if constexpr (std::is_arithmetic_v<T>) {
      put(out, value);
    } else {
      const std::string_view text(value);
      put(out, std::uint64_t{text.size()});
      out += text;
    }
  }
  void begin_key(std::string_view key, std::uint32_t type) {
    append(keys_, key);
    put(keys_, type);
    ++key_total_;
  }
  void pad(std::string& out) const { out.resize((out.size() + alignment - 1) / alignment * alignment, '\0'); }

  std::string keys_;
  std::uint64_t key_total_ = 0;
};

/// A safetensors file from a header's text and the data after it.
inline std::string safetensors_file(std::string_view header, std::string_view data = {}) {
  std::string out;
  put(out, std::uint64_t{header.size()});
  out += header;
  out += data;
  return out;
}

/// Writes a safetensors file, tensors back to back in the order of the calls, header padded to 8 bytes.
class SafetensorsBuilder {
 public:
  SafetensorsBuilder& tensor(std::string_view name, std::string_view dtype, const std::vector<std::uint64_t>& shape,
                             std::string_view data) {
    std::string dims;
    for (const std::uint64_t dim : shape) dims += (dims.empty() ? "" : ",") + std::to_string(dim);
    header_ += header_.empty() ? "{" : ",";
    header_ += '"' + std::string(name) + R"(":{"dtype":")" + std::string(dtype) + R"(","shape":[)" + dims +
               R"(],"data_offsets":[)" + std::to_string(data_.size()) + "," +
               std::to_string(data_.size() + data.size()) + "]}";
    data_ += data;
    return *this;
  }
  std::string build() const {
    std::string header = header_.empty() ? "{}" : header_ + "}";
    header.resize((header.size() + 7) / 8 * 8, ' ');
    return safetensors_file(header, data_);
  }

 private:
  std::string header_, data_;
};

}  // namespace tmodel::testing
