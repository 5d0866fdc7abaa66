#pragma once
// What a weight format is (the concept) and lists of formats. The formats themselves are in quant/.

#include <concepts>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>
#include <variant>

#include "tmodel/core/types.hpp"

namespace tmodel::inline v0 {

/// Which copies of an activation row a matrix product reads: the floats, or blocks of 8-bit integers.
enum class Acts : unsigned { none = 0, floats = 1, q8 = 2 };
constexpr Acts operator|(Acts a, Acts b) noexcept { return static_cast<Acts>(static_cast<unsigned>(a) | static_cast<unsigned>(b)); }
constexpr bool has(Acts set, Acts one) noexcept { return (static_cast<unsigned>(set) & static_cast<unsigned>(one)) != 0; }

/// Storage layout of one weight format. No SIMD here: kernels live in backends.
template <class Q>
concept WeightFormat = std::is_trivially_copyable_v<typename Q::Block> &&
    requires(const typename Q::Block* blocks, std::span<f32> out) {
      { Q::name } -> std::convertible_to<std::string_view>;
      typename std::integral_constant<std::size_t, Q::block_len>;     // elements along a row per block
      typename std::integral_constant<std::uint32_t, Q::gguf_id>;     // its number in GGUF files
      typename std::integral_constant<Acts, Q::acts>;                 // what a product with it reads
      { Q::dequantize(blocks, out) } noexcept;                        // out.size(): a multiple of block_len
    };

/// A format that can also be written. src.size() is a multiple of block_len.
template <class Q>
concept QuantizableFormat = WeightFormat<Q> && requires(std::span<const f32> src, typename Q::Block* blocks) {
  { Q::quantize(src, blocks) } noexcept;
};

/// A list of formats, the third parameter of a backend. Name one with a struct of its own to keep symbols short:
///   struct Mine : FormatSet<F32, Q8_0> {};
template <class... Qs>
struct FormatSet {
  static_assert((WeightFormat<Qs> && ...), "tmodel: a FormatSet holds something that is not a weight format");
  static constexpr std::size_t size = sizeof...(Qs);
  template <class Q> static constexpr bool contains = (std::is_same_v<Q, Qs> || ...);

  /// One matrix type per format, of which exactly one is held; monostate before loading.
  template <template <class> class Matrix> using variant = std::variant<std::monostate, Matrix<Qs>...>;

  /// Calls fn.template operator()<Q>() for the format with this number; false if the set has none.
  template <class Fn>
  static bool visit(std::uint32_t id, Fn&& fn) {
    return ((id == Qs::gguf_id ? (fn.template operator()<Qs>(), true) : false) || ...);
  }
  template <class Fn> static void for_each(Fn&& fn) { (fn.template operator()<Qs>(), ...); }
};

}  // namespace tmodel::inline v0
