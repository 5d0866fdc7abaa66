#pragma once
// A GGUF model by path, in one file or split into parts PREFIX-00001-of-00003.gguf.
// Convention: llama.cpp's SPLIT_PATH_FORMAT; keys split.no (from 0), split.count, split.tensors.count.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "tmodel/io/gguf.hpp"
#include "tmodel/io/model_folder.hpp"

namespace tmodel::inline v0 {

/// The parts of a split file's name; number counts from 1.
struct GgufPartName {
  std::string_view prefix;
  std::uint32_t number = 0, count = 0;
};

/// "m-00002-of-00005.gguf" -> m, 2, 5; nullopt for any other form.
constexpr std::optional<GgufPartName> parse_gguf_part_name(std::string_view name) noexcept {
  constexpr std::size_t tail = std::string_view("-00001-of-00001.gguf").size();
  if (name.size() < tail || !name.ends_with(".gguf")) return std::nullopt;
  const std::string_view end = name.substr(name.size() - tail);
  GgufPartName part{name.substr(0, name.size() - tail), 0, 0};
  if (end[0] != '-' || end.substr(6, 4) != "-of-") return std::nullopt;
  for (std::size_t i = 0; i < 5; ++i) {
    const char a = end[1 + i], b = end[10 + i];
    if (a < '0' || a > '9' || b < '0' || b > '9') return std::nullopt;
    part.number = part.number * 10 + static_cast<std::uint32_t>(a - '0');
    part.count = part.count * 10 + static_cast<std::uint32_t>(b - '0');
  }
  return part;
}

/// The name of part `number` (from 1) of `count`, both below 100,000.
inline std::string gguf_part_name(std::string_view prefix, std::uint32_t number, std::uint32_t count) {
  const auto five = [](std::uint32_t n) {
    const std::string digits = std::to_string(n);
    return std::string(digits.size() < 5 ? 5 - digits.size() : 0, '0') + digits;
  };
  return std::string(prefix) + "-" + five(number) + "-of-" + five(count) + ".gguf";
}

namespace detail {

/// split.count, 1 if the file is whole. Errors: bad_file.
inline expected<std::uint32_t> gguf_part_count(const TensorSource& source) {
  if (!source.metadata.has("split.count")) return 1u;
  const auto count = source.metadata.integer("split.count");
  if (count && (*count == 0 || *count == 1)) return 1u;
  if (!count || *count < 0 || static_cast<std::uint64_t>(*count) > file_limits::split_parts)
    return fail(Errc::bad_file, "impossible number of parts", source.metadata.where + ": key split.count",
                "up to " + std::to_string(file_limits::split_parts),
                count ? std::to_string(*count) : "not a whole number");
  return static_cast<std::uint32_t>(*count);
}

/// Reads part `number` (from 1) and checks that it says so itself.
template <class Folder>
expected<TensorSource> read_gguf_part(Folder& folder, const std::string& name, std::uint32_t number,
                                      std::uint32_t count) {
  if (!folder.has(name))
    return fail(Errc::bad_file, "a part of the split model is missing", folder.path_of(name), {}, {},
                "download all parts into one folder");
  TMODEL_TRY(const auto bytes, folder.read(name));
  TMODEL_TRY(TensorSource part, GgufReader(bytes, folder.path_of(name)).read());
  TMODEL_TRY(const std::uint32_t its_count, gguf_part_count(part));
  const auto its_number = part.metadata.integer("split.no");
  if (its_count != count || its_number != std::int64_t{number} - 1)
    return fail(Errc::bad_file, "this part belongs to another set", part.metadata.where,
                "split.no " + std::to_string(number - 1) + ", split.count " + std::to_string(count),
                "split.no " + (its_number ? std::to_string(*its_number) : std::string("missing")) + ", split.count " +
                    std::to_string(its_count));
  return part;
}

/// Adds the tensors of parts 2 and up to those of part 1, which `source` holds and which is called `name`.
template <class Folder>
expected<void> join_gguf_parts(Folder& folder, std::string_view name, std::uint32_t count, TensorSource& source) {
  const std::string where = source.metadata.where;
  const auto own_number = source.metadata.integer("split.no");
  const auto total = source.metadata.integer("split.tensors.count");
  const auto part_name = parse_gguf_part_name(name);
  if (!own_number || !total)
    return fail(Errc::bad_file, "a part of a split model without split.no or split.tensors.count", where);
  if (*own_number != 0)
    return fail(
        Errc::bad_file,
        "this is part " + std::to_string(*own_number < count ? *own_number + 1 : *own_number) + " of a split model",
        where, "part 1", {}, part_name ? "open " + gguf_part_name(part_name->prefix, 1, count) : "open the first part");
  if (!part_name || part_name->number != 1 || part_name->count != count)
    return fail(Errc::bad_file, "the name of a split model's first part", where, "NAME" + gguf_part_name("", 1, count),
                name, "rename the parts, or the others cannot be found");
  for (std::uint32_t number = 2; number <= count; ++number) {
    TMODEL_TRY(TensorSource part,
               read_gguf_part(folder, gguf_part_name(part_name->prefix, number, count), number, count));
    if (source.tensors.size() + part.tensors.size() > file_limits::tensors)
      return fail(Errc::bad_file, "too many tensors", where, "at most " + std::to_string(file_limits::tensors));
    std::move(part.tensors.begin(), part.tensors.end(), std::back_inserter(source.tensors));
  }
  if (*total < 0 || static_cast<std::uint64_t>(*total) != source.tensors.size())
    return fail(Errc::bad_file, "the parts do not hold all tensors", where,
                std::to_string(*total) + " (split.tensors.count)", std::to_string(source.tensors.size()));
  if (auto sorted = source.sort(); !sorted)
    return fail(Errc::bad_file, "a tensor stands in two parts", where + ": tensor " + printable(sorted.error().where));
  return {};
}

}  // namespace detail

/// Opens a GGUF model: maps the file and, if it is the first part of a split model, all other parts, and joins their
/// tensors; the metadata is the first part's. Errors: io, bad_file, unsupported, bad_argument, out_of_memory.
inline expected<TensorSource> open_gguf(std::string_view path) {
  return guard([&]() -> expected<TensorSource> {
    TMODEL_TRY(const std::string whole, detail::checked_path(path));
    const detail::SplitPath parts = detail::split_path(whole);
    std::vector<os::MappedFile> files;
    DiskFolder folder{std::string(parts.prefix), files};
    TMODEL_TRY(const auto bytes, folder.read(parts.name));
    TMODEL_TRY(TensorSource source, detail::GgufReader(bytes, whole).read());
    TMODEL_TRY(const std::uint32_t count, detail::gguf_part_count(source));
    if (count > 1) TMODEL_CHECK(detail::join_gguf_parts(folder, parts.name, count, source));
    source.files = std::move(files);
    return source;
  });
}

}  // namespace tmodel::inline v0
