#pragma once
// Where the files of a model come from: a folder on disk, mapped file by file, or a list in the caller's memory.
// Both are used through the same four members, so that what reads a model does not know which one it has.

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tmodel/io/foreign_files.hpp"
#include "tmodel/io/tensor_source.hpp"

namespace tmodel::inline v0 {

/// One file of a model folder that the caller holds in memory.
struct NamedBytes {
  std::string_view name;  ///< without a path: "config.json"
  std::span<const std::byte> bytes;
};

/// A folder on disk. Files are mapped when asked for; the mappings go to the list given at construction.
class DiskFolder {
 public:
  /// `prefix` goes before every name: "" or a path that ends in '/'.
  DiskFolder(std::string prefix, std::vector<os::MappedFile>& files) : prefix_(std::move(prefix)), files_(files) {}

  std::string path_of(std::string_view name) const { return prefix_ + std::string(name); }
  bool has(std::string_view name) const { return os::is_file(path_of(name)); }
  /// Errors: io.
  expected<std::span<const std::byte>> read(std::string_view name) {
    TMODEL_TRY(os::MappedFile file, os::MappedFile::open(path_of(name)));
    return files_.emplace_back(std::move(file)).bytes();
  }
  /// Sorted names of the files with this ending. Errors: io.
  expected<std::vector<std::string>> names_ending_in(std::string_view suffix) const {
    TMODEL_TRY(std::vector<std::string> names, os::list_directory(prefix_.empty() ? "." : prefix_, suffix));
    std::erase_if(names, [&](const std::string& name) { return !has(name); });
    return names;
  }

 private:
  std::string prefix_;
  std::vector<os::MappedFile>& files_;
};

/// Files in memory under one name for errors.
class MemoryFolder {
 public:
  MemoryFolder(std::span<const NamedBytes> files, std::string_view where) noexcept : files_(files), where_(where) {}

  std::string path_of(std::string_view name) const { return std::string(where_) + "/" + std::string(name); }
  bool has(std::string_view name) const noexcept { return find(name) != nullptr; }
  expected<std::span<const std::byte>> read(std::string_view name) const {
    const NamedBytes* file = find(name);
    if (file == nullptr) return fail(Errc::io, "no such file", path_of(name));
    return file->bytes;
  }
  expected<std::vector<std::string>> names_ending_in(std::string_view suffix) const {
    std::vector<std::string> names;
    for (const NamedBytes& file : files_)
      if (file.name.ends_with(suffix)) names.emplace_back(file.name);
    std::sort(names.begin(), names.end());
    return names;
  }

 private:
  const NamedBytes* find(std::string_view name) const noexcept {
    for (const NamedBytes& file : files_)
      if (file.name == name) return &file;
    return nullptr;
  }
  std::span<const NamedBytes> files_;
  std::string_view where_;
};

namespace detail {

/// "a/b/c" -> "a/b/", "c".
struct SplitPath {
  std::string_view prefix, name;
};
constexpr SplitPath split_path(std::string_view path) noexcept {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? SplitPath{{}, path}
                                         : SplitPath{path.substr(0, slash + 1), path.substr(slash + 1)};
}

/// A path as the operating system takes it. Errors: bad_argument (empty, or with a zero byte, which would cut it off).
inline expected<std::string> checked_path(std::string_view path) {
  if (path.empty()) return fail(Errc::bad_argument, "the path is empty");
  if (path.find('\0') != std::string_view::npos)
    return fail(Errc::bad_argument, "a zero byte in the path", path);
  return std::string(path);
}

}  // namespace detail

}  // namespace tmodel::inline v0
