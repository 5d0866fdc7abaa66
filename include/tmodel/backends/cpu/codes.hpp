#pragma once
// How vectors read the codes and scales of each quantised format, 256 elements at a time.
// Layouts: quant/legacy.hpp, quant/k_quants.hpp, quant/nonlinear.hpp, whose unpack() says the same in plain code.

#include "tmodel/backends/cpu/bytes.hpp"
#include "tmodel/backends/cpu/panel.hpp"
#include "tmodel/quant/all.hpp"

namespace tmodel::inline v0::cpu {

// Codes<Q, A>: coding; codes() and scales(), whose numbers are exactly those of unpack().
// Blocks of 32: codes() reads those of a block, scales() the scales and offsets of as many blocks at(0), at(1) ... as
// vectors have lanes. Blocks of 256: codes<p>() reads those of part p, scales() the scales and offsets of all units of
// a block.

template <class A>
using BytesOf = Bytes<typename InstructionSet<A>::Floats>;
template <class A>
using Vector = typename BytesOf<A>::Vector;

template <class Q, class A>
struct Codes;
template <class Q, class A>
inline constexpr bool has_codes = requires {
  Codes<Q, A>::coding;
};

/// A scale `d`, and an offset `m` beside it, at the head of blocks of 32.
template <class Q, class A>
struct HeadScales {
  TMODEL_INLINE static void scales(auto at, f32* scales, f32* offsets) noexcept {
    BytesOf<A>::put_halves(BytesOf<A>::heads(at), scales, Q::Integers::has_offsets ? offsets : nullptr);
  }
};

template <class A>
struct Codes<Q4_0, A> : HeadScales<Q4_0, A> {
  static constexpr Coding coding{.bits = 4, .origin = 8};
  TMODEL_INLINE static Vector<A> codes(const Q4_0::Block& b) noexcept { return BytesOf<A>::nibbles(b.qs); }
};

template <class A>
struct Codes<Q4_1, A> : HeadScales<Q4_1, A> {
  static constexpr Coding coding{.bits = 4, .offsets = true};
  TMODEL_INLINE static Vector<A> codes(const Q4_1::Block& b) noexcept { return BytesOf<A>::nibbles(b.qs); }
};

template <class A>
struct Codes<Q5_0, A> : HeadScales<Q5_0, A> {
  static constexpr Coding coding{.bits = 5, .origin = 16};
  TMODEL_INLINE static Vector<A> codes(const Q5_0::Block& b) noexcept {
    return BytesOf<A>::either(BytesOf<A>::nibbles(b.qs), BytesOf<A>::flags(b.qh));
  }
};

template <class A>
struct Codes<Q5_1, A> : HeadScales<Q5_1, A> {
  static constexpr Coding coding{.bits = 5, .offsets = true};
  TMODEL_INLINE static Vector<A> codes(const Q5_1::Block& b) noexcept {
    return BytesOf<A>::either(BytesOf<A>::nibbles(b.qs), BytesOf<A>::flags(b.qh));
  }
};

template <class A>
struct Codes<Q8_0, A> : HeadScales<Q8_0, A> {
  static constexpr Coding coding{.bits = 8};
  TMODEL_INLINE static Vector<A> codes(const Q8_0::Block& b) noexcept { return BytesOf<A>::load(b.qs); }
};

template <class A>
struct Codes<IQ4_NL, A> : HeadScales<IQ4_NL, A> {
  static constexpr Coding coding{.bits = 8};
  TMODEL_INLINE static Vector<A> codes(const IQ4_NL::Block& b) noexcept {
    return BytesOf<A>::look_up(detail::nonlinear::iq4_values, BytesOf<A>::nibbles(b.qs));
  }
};

template <class A>
struct Codes<MXFP4, A> {
  static constexpr Coding coding{.bits = 5, .origin = 16};  // -12 to 12, plus 16
  TMODEL_INLINE static Vector<A> codes(const MXFP4::Block& b) noexcept {
    return BytesOf<A>::plus(BytesOf<A>::look_up(detail::nonlinear::e2m1_doubled, BytesOf<A>::nibbles(b.qs)), 16);
  }
  TMODEL_INLINE static void scales(auto at, f32* scales, f32*) noexcept {
    const Ints<A> exponent = Ints<A>(BytesOf<A>::heads(at)) & Ints<A>(0xFF);
    const Ints<A> normal = (exponent - Ints<A>(1)) << 23;
    const Ints<A> tiny = Ints<A>(0x00200000) + (exponent << 21);  // 2^-128 and 2^-127 are subnormal
    store<A>(scales, xsimd::bitwise_cast<Floats<A>>(xsimd::select(exponent > Ints<A>(1), normal, tiny)));
  }
};

/// Q4_K and Q5_K: the scales and minimums of 6 bits in 12 bytes, four at a time.
template <class A>
struct SixBitScales {
  TMODEL_INLINE static void scales(const auto* block, f32* scales, f32* offsets) noexcept {
    const auto a = load_unaligned<std::uint32_t>(block->scales), b = load_unaligned<std::uint32_t>(block->scales + 4),
               c = load_unaligned<std::uint32_t>(block->scales + 8);
    const auto eight = [](std::uint32_t own, std::uint32_t low)
                           TMODEL_INLINE_LAMBDA {  // the upper four, with the two upper bits of own
                             const std::uint32_t upper = (low & 0x0F0F0F0Fu) | ((own >> 2) & 0x30303030u);
                             return (own & 0x3F3F3F3Fu) | std::uint64_t{upper} << 32;
                           };
    BytesOf<A>::put_products(eight(a, c), BytesOf<A>::number(block->d), scales);
    BytesOf<A>::put_products(eight(b, c >> 4), -BytesOf<A>::number(block->dmin), offsets);
  }
};

template <class A>
struct Codes<Q4_K, A> : SixBitScales<A> {
  static constexpr Coding coding{.bits = 4, .offsets = true};
  template <int p>
  TMODEL_INLINE static Vector<A> codes(const Q4_K::Block* b) noexcept {
    return BytesOf<A>::template moved<-(p % 2 * 4), 15>(BytesOf<A>::load(b->qs + p / 2 * 32));
  }
};

template <class A>
struct Codes<Q5_K, A> : SixBitScales<A> {
  static constexpr Coding coding{.bits = 5, .offsets = true};
  template <int p>
  TMODEL_INLINE static Vector<A> codes(const Q5_K::Block* b) noexcept {
    return BytesOf<A>::either(BytesOf<A>::template moved<-(p % 2 * 4), 15>(BytesOf<A>::load(b->qs + p / 2 * 32)),
                              BytesOf<A>::template moved<4 - p, 16>(BytesOf<A>::load(b->qh)));
  }
};

template <class A>
struct Codes<IQ4_XS, A> {
  static constexpr Coding coding{.bits = 8};
  template <int p>
  TMODEL_INLINE static Vector<A> codes(const IQ4_XS::Block* b) noexcept {
    return BytesOf<A>::look_up(detail::nonlinear::iq4_values, BytesOf<A>::nibbles(b->qs + 16 * p));
  }
  TMODEL_INLINE static void scales(const IQ4_XS::Block* b, f32* scales, f32*) noexcept {
    const auto packed = load_unaligned<std::uint32_t>(b->scales_l);
    const Floats<A> d(BytesOf<A>::number(b->d));
    unroll<8 / lanes<A>>([&](auto i) TMODEL_INLINE_LAMBDA {
      constexpr int first = i * lanes<A>;
      const Ints<A> low = BytesOf<A>::template fields<4>(packed, 15, first);
      const Ints<A> high = BytesOf<A>::template fields<2>(b->scales_h, 3, first);
      store<A>(scales + first, xsimd::to_float((low | (high << 4)) - Ints<A>(32)) * d);
    });
  }
};

template <class A>
struct Codes<Q2_K, A> {
  static constexpr Coding coding{.bits = 4, .unit = 16, .offsets = true};
  template <int p>
  TMODEL_INLINE static Vector<A> codes(const Q2_K::Block* b) noexcept {
    return BytesOf<A>::template moved<-(p % 4 * 2), 3>(BytesOf<A>::load(b->qs + p / 4 * 32));
  }
  TMODEL_INLINE static void scales(const Q2_K::Block* b, f32* scales, f32* offsets) noexcept {
    constexpr std::uint64_t low = 0x0F0F0F0F0F0F0F0Full;
    const f32 d = BytesOf<A>::number(b->d), minus = -BytesOf<A>::number(b->dmin);
    unroll<2>([&](auto i) TMODEL_INLINE_LAMBDA {
      const auto packed = load_unaligned<std::uint64_t>(b->scales + 8 * i);
      BytesOf<A>::put_products(packed & low, d, scales + 8 * i);
      BytesOf<A>::put_products(packed >> 4 & low, minus, offsets + 8 * i);
    });
  }
};

template <class A>
struct Codes<Q3_K, A> {
  static constexpr Coding coding{.bits = 4, .origin = 4, .unit = 16};
  template <int p>
  TMODEL_INLINE static Vector<A> codes(const Q3_K::Block* b) noexcept {
    return BytesOf<A>::either(BytesOf<A>::template moved<-(p % 4 * 2), 3>(BytesOf<A>::load(b->qs + p / 4 * 32)),
                              BytesOf<A>::template moved<2 - p, 4>(BytesOf<A>::load(b->hmask)));
  }
  TMODEL_INLINE static void scales(const Q3_K::Block* b, f32* scales, f32*) noexcept {
    const auto low = load_unaligned<std::uint64_t>(b->scales);
    const auto z = load_unaligned<std::uint32_t>(b->scales + 8);
    const f32 d = BytesOf<A>::number(b->d);
    unroll<2>([&](auto i) TMODEL_INLINE_LAMBDA {
      const std::uint32_t high = z >> (4 * i);
      const std::uint64_t upper = (high & 0x03030303u) | std::uint64_t{high >> 2 & 0x03030303u} << 32;
      const std::uint64_t six = (low >> (4 * i) & 0x0F0F0F0F0F0F0F0Full) | upper << 4;
      BytesOf<A>::put_products(minus_32(six), d, scales + 8 * i);
    });
  }

 private:
  /// Eight numbers of 6 bits, minus 32 each: the sixth bit inverted is the sign.
  static constexpr std::uint64_t minus_32(std::uint64_t six) noexcept {
    const std::uint64_t sign = ~six & 0x2020202020202020ull;
    return (six & 0x1F1F1F1F1F1F1F1Full) | sign | sign << 1 | sign << 2;
  }
};

template <class A>
struct Codes<Q6_K, A> {
  static constexpr Coding coding{.bits = 6, .origin = 32, .unit = 16};
  template <int p>
  TMODEL_INLINE static Vector<A> codes(const Q6_K::Block* b) noexcept {
    return BytesOf<A>::either(
        BytesOf<A>::template moved<-(p % 4 / 2 * 4), 15>(BytesOf<A>::load(b->ql + p / 4 * 64 + p % 2 * 32)),
        BytesOf<A>::template moved<4 - p % 4 * 2, 0x30>(BytesOf<A>::load(b->qh + p / 4 * 32)));
  }
  TMODEL_INLINE static void scales(const Q6_K::Block* b, f32* scales, f32*) noexcept {
    const f32 d = BytesOf<A>::number(b->d);
    unroll<2>([&](auto i) TMODEL_INLINE_LAMBDA {
      BytesOf<A>::put_products(load_unaligned<std::uint64_t>(b->scales + 8 * i), d, scales + 8 * i);
    });
  }
};

}  // namespace tmodel::inline v0::cpu
