#pragma once
// Every weight format that is supported, as lists and as data by GGUF type number.
// Numbers: GGML's ggml.h. Names of formats that are not supported: io/stored_formats.hpp.

#include <array>

#include "tmodel/quant/dense.hpp"
#include "tmodel/quant/k_quants.hpp"
#include "tmodel/quant/legacy.hpp"
#include "tmodel/quant/nonlinear.hpp"

namespace tmodel::inline v0 {

struct DenseFormats : FormatSet<F32, F16, BF16> {};

struct AllFormats
    : FormatSet<F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS, MXFP4> {};

/// What a reader of files needs to know of a format.
struct FormatTraits {
  std::uint32_t gguf_id;
  std::string_view name;
  std::size_t block_len;    ///< elements along a row
  std::size_t block_bytes;  ///< of one block
};

namespace detail {
template <class... Qs>
constexpr auto traits_of(FormatSet<Qs...>) {
  return std::array<FormatTraits, sizeof...(Qs)>{
      {{Qs::gguf_id, Qs::name, Qs::block_len, sizeof(typename Qs::Block)}...}};
}
inline constexpr auto all_traits = traits_of(AllFormats{});
}  // namespace detail

/// The format with this GGUF type number; nullptr if it is not supported.
constexpr const FormatTraits* find_format(std::uint32_t gguf_id) noexcept {
  for (const FormatTraits& traits : detail::all_traits)
    if (traits.gguf_id == gguf_id) return &traits;
  return nullptr;
}

}  // namespace tmodel::inline v0
