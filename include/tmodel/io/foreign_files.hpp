#pragma once
// Recognises files that are not what they were taken for, so that the error says what they are and what to do.
// Sources: the git-lfs pointer specification; ggml's file magics before GGUF; magics of zip, gzip, pickle and HDF5.

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "tmodel/core/error.hpp"

namespace tmodel::inline v0 {

/// What a file turned out to be, and what its owner can do.
struct ForeignFile {
  std::string_view kind;
  std::string_view hint;
};

namespace detail {
inline std::string_view as_text(std::span<const std::byte> bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

constexpr bool starts_with_ignoring_case(std::string_view text, std::string_view lower) noexcept {
  if (text.size() < lower.size()) return false;
  for (std::size_t i = 0; i < lower.size(); ++i) {
    const char c = text[i];
    if ((c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c) != lower[i]) return false;
  }
  return true;
}
}  // namespace detail

/// A pointer that git-lfs leaves where a large file belongs.
constexpr bool is_lfs_pointer(std::string_view text) noexcept {
  return text.starts_with("version https://git-lfs.github.com/") ||
         text.starts_with("version https://hawser.github.com/");
}

/// Looks at the first bytes. nullopt: nothing known, or one of the kinds that tmodel reads.
inline std::optional<ForeignFile> recognize_foreign(std::span<const std::byte> bytes) noexcept {
  constexpr std::string_view convert = "convert the model to GGUF or safetensors";
  std::string_view text = detail::as_text(bytes).substr(0, 256);
  if (text.empty()) return ForeignFile{"an empty file", "download it again"};
  if (is_lfs_pointer(text))
    return ForeignFile{"a git-lfs pointer, not the file itself",
                       "run `git lfs pull` in its repository, or download it"};
  for (const std::string_view magic : {"lmgg", "tjgg", "fmgg", "algg", "ggml", "ggjt", "ggmf", "ggla"})
    if (text.starts_with(magic))
      return ForeignFile{"a ggml file from before GGUF",
                         "convert it to GGUF with llama.cpp's tools, or get a GGUF file"};
  if (text.starts_with("PK\x03\x04")) return ForeignFile{"a zip archive, as PyTorch checkpoints are", convert};
  if (text.size() > 1 && text[0] == '\x80' && text[1] >= 2 && text[1] <= 5)
    return ForeignFile{"a Python pickle, as old PyTorch checkpoints are", convert};
  if (text.starts_with("\x1f\x8b")) return ForeignFile{"a gzip archive", "unpack it first"};
  if (text.starts_with("\x89HDF")) return ForeignFile{"an HDF5 file", convert};
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  while (!text.empty() && (text[0] == ' ' || text[0] == '\n' || text[0] == '\r' || text[0] == '\t'))
    text.remove_prefix(1);
  if (detail::starts_with_ignoring_case(text, "<!doctype") || detail::starts_with_ignoring_case(text, "<html") ||
      detail::starts_with_ignoring_case(text, "<?xml") || detail::starts_with_ignoring_case(text, "<head"))
    return ForeignFile{"an HTML or XML page",
                       "the server sent a page instead of the file: check the link, download it again"};
  return std::nullopt;
}

/// The error for a file that is not `wanted` ("a GGUF file"): names what it is where that can be told.
inline tl::unexpected<Error> fail_foreign(std::span<const std::byte> bytes, std::string_view where,
                                          std::string_view wanted) {
  if (const auto foreign = recognize_foreign(bytes))
    return fail(Errc::bad_file, "not " + std::string(wanted), where, {}, foreign->kind,
                foreign->hint);
  const std::string_view text = detail::as_text(bytes);
  std::string got = "a file that begins with \"" + printable(text.substr(0, 8)) + "\"";
  if (text.starts_with("GGUF"))
    got = "a GGUF file";
  else if (text.size() > 8 && text[8] == '{')
    got = "what looks like a safetensors file";
  else if (text.starts_with("{"))
    got = "JSON text";
  return fail(Errc::bad_file, "not " + std::string(wanted), where, {}, got);
}

}  // namespace tmodel::inline v0
