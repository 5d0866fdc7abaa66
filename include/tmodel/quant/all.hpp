#pragma once
// Every weight format there is, as lists and as data by GGUF type number, and names for the numbers that are refused.
// Numbers: GGML's ggml.h; those from 97 up: ik_llama.cpp.

#include <array>
#include <string>

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

/// Name of a GGUF type number, supported or not: "Q4_K", "IQ2_XXS", "removed id 4"; empty if nobody is known to use it.
constexpr std::string_view format_name(std::uint32_t gguf_id) noexcept {
  if (const FormatTraits* traits = find_format(gguf_id)) return traits->name;
  switch (gguf_id) {
    case 4:
      return "removed id 4";  // Q4_2
    case 5:
      return "removed id 5";  // Q4_3
    case 31:
      return "removed id 31";  // 31..33: Q4_0 with interleaved rows
    case 32:
      return "removed id 32";
    case 33:
      return "removed id 33";
    case 36:
      return "removed id 36";  // 36..38: IQ4_NL with interleaved rows; ik_llama.cpp's I2_S is 36 too
    case 37:
      return "removed id 37";
    case 38:
      return "removed id 38";
    case 9:
      return "Q8_1";
    case 15:
      return "Q8_K";
    case 16:
      return "IQ2_XXS";
    case 17:
      return "IQ2_XS";
    case 18:
      return "IQ3_XXS";
    case 19:
      return "IQ1_S";
    case 21:
      return "IQ3_S";
    case 22:
      return "IQ2_S";
    case 24:
      return "I8";
    case 25:
      return "I16";
    case 26:
      return "I32";
    case 27:
      return "I64";
    case 28:
      return "F64";
    case 29:
      return "IQ1_M";
    case 34:
      return "TQ1_0";
    case 35:
      return "TQ2_0";
    case 40:
      return "NVFP4";
    case 41:
      return "Q1_0";
    case 42:
      return "Q2_0";
    case 133:
      return "Q6_0 of ik_llama.cpp";
    case 137:
      return "IQ2_K of ik_llama.cpp";
    case 138:
      return "IQ3_K of ik_llama.cpp";
    case 139:
      return "IQ4_K of ik_llama.cpp";
    case 140:
      return "IQ5_K of ik_llama.cpp";
    default:
      return {};
  }
}

/// format_name for messages: never empty, "unknown id 77" where there is no name.
inline std::string describe_format(std::uint32_t gguf_id) {
  const std::string_view known = format_name(gguf_id);
  return known.empty() ? "unknown id " + std::to_string(gguf_id) : std::string(known);
}

}  // namespace tmodel::inline v0
