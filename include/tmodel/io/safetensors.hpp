#pragma once
// safetensors: one file -> tensors, in place. A JSON header says dtype, shape and place of each; data follows.
// Rules: the format's README and its reference reader (safetensors/src/tensor.rs), which this one agrees with, save
// that the header must begin with '{' as the README says.

#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tmodel/core/json.hpp"
#include "tmodel/io/file_limits.hpp"
#include "tmodel/io/foreign_files.hpp"
#include "tmodel/io/stored_formats.hpp"
#include "tmodel/io/tensor_source.hpp"

namespace tmodel::inline v0 {

namespace detail {

inline std::string safetensors_place(std::string_view where, std::string_view name) {
  return std::string(where) + ": tensor " + printable(name);
}

/// A count of the header: a JSON integer from 0 to 2^63 - 1; 3.0 is none.
inline std::optional<std::uint64_t> header_count(Json value) noexcept {
  const auto n = value.is_integer() ? value.integer() : std::nullopt;
  return n && *n >= 0 ? std::optional(static_cast<std::uint64_t>(*n)) : std::nullopt;
}

/// Reads one header entry; `data` is what follows the header, which begins `data_begin` bytes into the file.
inline expected<TensorInfo> safetensors_entry(Json entry, std::span<const std::byte> data, std::uint64_t data_begin,
                                              std::string_view where) {
  const std::string_view name = entry.key();
  const auto wrong = [&](std::string what, std::string wanted = {}, std::string got = {}) {
    return fail(Errc::bad_file, what, safetensors_place(where, name), wanted, got);
  };
  if (!entry.is_object()) return wrong("not described by an object");
  const Json dtype = entry["dtype"], shape = entry["shape"], offsets = entry["data_offsets"];
  if (!dtype.is_string()) return wrong("no dtype");
  if (!shape.is_array()) return wrong("no shape");
  if (!offsets.is_array() || offsets.size() != 2) return wrong("no data_offsets", "two numbers");

  TensorInfo info;
  info.name = name;
  const StoredFormat* format = find_dtype(dtype.string());
  if (format == nullptr) return wrong("unknown dtype", {}, std::string(dtype.string()));
  info.format = format->id;

  if (shape.size() > static_cast<std::size_t>(max_rank))
    return fail(Errc::unsupported, "too many dimensions", safetensors_place(where, name),
                "at most " + std::to_string(max_rank), std::to_string(shape.size()));
  for (Json dim = shape.first(); dim; dim = dim.next()) {
    const auto length = header_count(dim);
    if (!length) return wrong("impossible dimension", "a whole number from 0 on");
    info.shape[static_cast<std::size_t>(info.rank++)] = *length;
  }

  const auto begin = header_count(offsets.first()), end = header_count(offsets.first().next());
  if (!begin || !end || *begin > *end) return wrong("impossible data_offsets");
  if (*end > data.size())
    return fail(Errc::bad_file, "data reaches past the end of the file", safetensors_place(where, name),
                std::to_string(*end) + " bytes", std::to_string(data.size()),
                "the file is damaged or its download was cut off");
  std::uint64_t elements = 0, bytes = 0;
  if (!count_elements(std::span(info.shape).first(static_cast<std::size_t>(info.rank)), elements) ||
      !stored_bytes(*format, elements, bytes))
    return wrong("impossible shape");
  if (bytes != *end - *begin)
    return wrong("size and shape disagree", std::to_string(bytes) + " bytes", std::to_string(*end - *begin));
  info.offset = data_begin + *begin;
  if (bytes != 0) info.data = data.subspan(static_cast<std::size_t>(*begin), static_cast<std::size_t>(bytes));
  return info;
}

/// The tensors must cover the data from its first byte to the last, without hole or overlap.
inline expected<void> check_tiling(std::vector<TensorInfo>& tensors, std::uint64_t begin, std::uint64_t end,
                                   std::string_view where) {
  std::sort(tensors.begin(), tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return a.offset != b.offset ? a.offset < b.offset : a.data.size() < b.data.size();
  });
  std::uint64_t at = begin;
  for (const TensorInfo& t : tensors) {
    if (t.offset != at)
      return fail(Errc::bad_file, t.offset < at ? "data overlaps that of another tensor" : "a hole before the data",
                  safetensors_place(where, t.name), "data at " + std::to_string(at - begin),
                  std::to_string(t.offset - begin));
    at += t.data.size();
  }
  if (at != end)
    return fail(Errc::bad_file, "bytes after the last tensor", where,
                std::to_string(at - begin) + " bytes of data", std::to_string(end - begin));
  return {};
}

/// `__metadata__` maps strings to strings.
inline expected<void> check_header_metadata(Json entry, std::string_view where) {
  bool ok = entry.is_object();
  for (Json value = entry.first(); value; value = value.next()) ok = ok && value.is_string();
  if (!ok) return fail(Errc::bad_file, "__metadata__ is not a map from strings to strings", where);
  return {};
}

/// Joins tensors of one more file to those of `into`, or leaves it as it was.
inline expected<void> add_tensors(TensorSource&& more, std::string_view where, TensorSource& into) {
  TMODEL_CHECK(more.sort());
  for (const TensorInfo& t : more.tensors)
    if (into.find(t.name) != nullptr)
      return fail(Errc::bad_file, "the tensor stands in another file as well", safetensors_place(where, t.name));
  into.tensors.reserve(into.tensors.size() + more.tensors.size());
  std::move(more.tensors.begin(), more.tensors.end(), std::back_inserter(into.tensors));
  return into.sort();
}

}  // namespace detail

/// Reads one safetensors file that lies in memory and adds its tensors to `into.tensors`, sorted by name. Metadata is
/// not touched (the file's `__metadata__` is checked and dropped); after an error `into` is as before. Data points into
/// `bytes`, which must outlive it, and need not be aligned for its type. Rank 0 and dimensions of 0 are allowed.
/// Errors: bad_file, unsupported (more than max_rank dimensions), out_of_memory.
inline expected<void> read_safetensors(std::span<const std::byte> bytes, std::string_view where, TensorSource& into) {
  return guard([&]() -> expected<void> {
    constexpr std::string_view kind = "a safetensors file";
    if (bytes.size() < 8) return fail_foreign(bytes, where, kind);
    const auto length = load_unaligned<std::uint64_t>(bytes.data());
    const bool fits = length <= bytes.size() - 8;
    const std::string_view header =
        fits ? detail::as_text(bytes).substr(8, static_cast<std::size_t>(length)) : std::string_view();
    if (!header.starts_with('{')) {
      // Only now: the length of a sound file may look like another format's magic (0x0280 like a pickle's).
      if (recognize_foreign(bytes) || detail::as_text(bytes).starts_with("GGUF"))
        return fail_foreign(bytes, where, kind);
      if (fits) return fail(Errc::bad_file, "the header does not begin with {", where);
      return fail(Errc::bad_file, "the header is longer than the file", where,
                  "at most " + std::to_string(bytes.size() - 8) + " bytes", std::to_string(length),
                  "the file is damaged or its download was cut off");
    }
    if (length > file_limits::safetensors_header_bytes)
      return fail(Errc::bad_file, "the header is too long", where,
                  "at most " + std::to_string(file_limits::safetensors_header_bytes) + " bytes",
                  std::to_string(length));
    TMODEL_TRY(const JsonDocument document, JsonDocument::parse(header, where));
    const Json root = document.root();
    if (root.size() > file_limits::tensors)
      return fail(Errc::bad_file, "too many tensors", where,
                  "at most " + std::to_string(file_limits::tensors), std::to_string(root.size()));

    const std::uint64_t data_begin = 8 + length;
    const auto data = bytes.subspan(static_cast<std::size_t>(data_begin));
    TensorSource read;
    read.tensors.reserve(root.size());
    for (Json entry = root.first(); entry; entry = entry.next()) {
      if (entry.key() == "__metadata__") {
        TMODEL_CHECK(detail::check_header_metadata(entry, where));
        continue;
      }
      TMODEL_TRY(TensorInfo info, detail::safetensors_entry(entry, data, data_begin, where));
      read.tensors.push_back(std::move(info));
    }
    TMODEL_CHECK(detail::check_tiling(read.tensors, data_begin, bytes.size(), where));
    return detail::add_tensors(std::move(read), where, into);
  });
}

}  // namespace tmodel::inline v0
