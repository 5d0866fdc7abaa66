#pragma once
// What the loader sees of a model file: named tensors and metadata, whatever the container.
// Callers with a container of their own fill one by hand.

#include <algorithm>
#include <functional>
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "tmodel/core/metadata.hpp"
#include "tmodel/core/os.hpp"

namespace tmodel::inline v0 {

/// GGUF's numbers for tensor formats; safetensors' dtypes are mapped onto them. Only the id: what a block looks like
/// is quant/'s business.
using format_id = std::uint32_t;

/// Most dimensions of a tensor in a supported file. GGUF has at most 4; the convolutions of vision towers, which a
/// safetensors folder may hold beside the language model, have 5.
inline constexpr int max_rank = 8;

/// One tensor. shape is row-major, outermost first: a weight is [out, in]. A GGUF file stores it reversed.
struct TensorInfo {
  std::string name;
  format_id format = 0;
  int rank = 0;
  std::array<std::uint64_t, max_rank> shape{};  ///< unused ones are 0
  std::uint64_t offset = 0;                     ///< of the data in its file, for reports
  std::span<const std::byte> data;
};

/// The tensors of a model. Owns the mappings that `data` and the metadata's arrays point into.
class TensorSource {
 public:
  TensorSource() = default;
  TensorSource(TensorSource&&) = default;
  TensorSource& operator=(TensorSource&&) = default;
  TensorSource(const TensorSource&) = delete;  // a copy's spans would point into the original
  TensorSource& operator=(const TensorSource&) = delete;

  Metadata metadata;
  std::vector<TensorInfo> tensors;  ///< sorted by name once sort() was called
  std::vector<os::MappedFile> files;

  /// Gives back the memory of what stands before the tensors in each file: vocabulary, templates, headers, which loading
  /// has read. What is asked for later is read again.
  void release_text() const noexcept {
    for (const os::MappedFile& file : files) {
      const std::byte* const begin = file.bytes().data();
      const std::byte* first = begin + file.bytes().size();
      for (const TensorInfo& t : tensors)
        if (!std::less<>()(t.data.data(), begin) && std::less<>()(t.data.data(), first)) first = t.data.data();
      file.release(static_cast<std::size_t>(first - begin));
    }
  }

  /// Call after filling `tensors`. Errors: bad_file if a name stands twice.
  expected<void> sort() {
    std::sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
    const auto twice = std::adjacent_find(tensors.begin(), tensors.end(),
                                          [](const auto& a, const auto& b) { return a.name == b.name; });
    if (twice != tensors.end()) return fail(Errc::bad_file, "tensor name stands twice", twice->name);
    return {};
  }
  const TensorInfo* find(std::string_view name) const {
    const auto it = std::lower_bound(tensors.begin(), tensors.end(), name,
                                     [](const TensorInfo& t, std::string_view n) { return t.name < n; });
    return it != tensors.end() && it->name == name ? &*it : nullptr;
  }
};

}  // namespace tmodel::inline v0
