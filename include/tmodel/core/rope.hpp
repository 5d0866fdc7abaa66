#pragma once
// Rotary position embedding: inverse frequencies of every scaling kind, and cos/sin of an angle in f64.
// Formulas: Su et al. 2021; transformers' modeling_rope_utils (v5 reading: a given factor wins).

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "tmodel/core/error.hpp"

namespace tmodel::inline v0 {

enum class RopeScaling : std::uint8_t { none, linear, dynamic, llama3, yarn, longrope };

/// Which elements of a head a stored query or key row pairs. The result of rotation is always in halves:
/// interleaved rows (GGUF files of the llama architecture) are put in order while they are rotated.
enum class RopePairing : std::uint8_t { halves, interleaved };

/// What a configuration says of the rotation of some layers.
struct RopeParams {
  f64 theta = 10000.0;
  RopeScaling scaling = RopeScaling::none;
  f64 factor = 1.0;
  f64 original_length = 0;                            ///< positions the model was first trained on
  f64 low_freq_factor = 1.0, high_freq_factor = 4.0;  ///< llama3
  f64 attention_factor = 0;                           ///< yarn, longrope: 0 = derived from factor
  f64 beta_fast = 32, beta_slow = 1;                  ///< yarn
  f64 mscale = 0, mscale_all_dim = 0;                 ///< yarn: 0 = not given
  bool truncate = true;                               ///< yarn: the ramp's ends are whole numbers
  std::vector<f32> divisors;       ///< one per pair: longrope's short factors, a GGUF's rope_freqs.weight; empty = 1
  std::vector<f32> long_divisors;  ///< longrope, for sessions longer than original_length
};

/// Angle per position of each pair, and the factor on cos and sin.
struct RopeFrequencies {
  std::vector<f64> inverse;  ///< [rotary_dim / 2], radians per position
  f64 magnitude = 1.0;
};

/// `length` is the number of positions that the session is made for; only dynamic scaling and longrope depend on it,
/// and it is fixed for the life of the session: a switch in mid-session would make results depend on how a prompt was
/// cut. Errors: bad_metadata.
inline expected<RopeFrequencies> rope_frequencies(const RopeParams& p, int rotary_dim, f64 length) {
  const int pairs = rotary_dim / 2;
  const f64 r = rotary_dim;
  f64 theta = p.theta;
  if (p.scaling == RopeScaling::dynamic && length > p.original_length)
    theta *= std::pow(p.factor * length / p.original_length - (p.factor - 1.0), r / (r - 2.0));

  RopeFrequencies out;
  out.inverse.resize(static_cast<std::size_t>(pairs));
  for (int i = 0; i < pairs; ++i) out.inverse[static_cast<std::size_t>(i)] = std::pow(theta, -2.0 * i / r);

  if (p.scaling == RopeScaling::linear)
    for (f64& f : out.inverse) f /= p.factor;
  if (p.scaling == RopeScaling::llama3)
    for (f64& f : out.inverse) {
      const f64 wavelength = 2.0 * std::numbers::pi / f;
      if (wavelength > p.original_length / p.low_freq_factor) {
        f /= p.factor;
      } else if (wavelength >= p.original_length / p.high_freq_factor) {
        const f64 t = (p.original_length / wavelength - p.low_freq_factor) / (p.high_freq_factor - p.low_freq_factor);
        f = f * (1.0 - t) / p.factor + f * t;
      }
    }
  if (p.scaling == RopeScaling::yarn) {
    const auto turns = [&](f64 rotations) {  // the pair that makes so many turns over the original length
      return r * std::log(p.original_length / (rotations * 2.0 * std::numbers::pi)) / (2.0 * std::log(p.theta));
    };
    f64 low = turns(p.beta_fast), high = turns(p.beta_slow);
    if (p.truncate) low = std::floor(low), high = std::ceil(high);
    low = std::max(low, 0.0);
    high = std::min(high, r - 1.0);
    if (low == high) high += 0.001;
    for (int i = 0; i < pairs; ++i) {
      f64& f = out.inverse[static_cast<std::size_t>(i)];
      const f64 ramp = std::clamp((i - low) / (high - low), 0.0, 1.0);
      f = f * (1.0 - ramp) + f / p.factor * ramp;
    }
    const auto scale = [&](f64 m) { return p.factor <= 1.0 ? 1.0 : 0.1 * m * std::log(p.factor) + 1.0; };
    if (p.attention_factor != 0) out.magnitude = p.attention_factor;
    else if (p.mscale != 0 && p.mscale_all_dim != 0) out.magnitude = scale(p.mscale) / scale(p.mscale_all_dim);
    else out.magnitude = scale(1.0);
  }
  const bool longrope = p.scaling == RopeScaling::longrope;
  if (longrope) {
    out.magnitude = p.factor <= 1.0 ? 1.0 : std::sqrt(1.0 + std::log(p.factor) / std::log(p.original_length));
    if (p.attention_factor != 0) out.magnitude = p.attention_factor;
  }
  const std::vector<f32>& divisors = longrope && length > p.original_length ? p.long_divisors : p.divisors;
  if (longrope || !divisors.empty()) {
    if (divisors.size() != out.inverse.size())
      return fail(Errc::bad_metadata, "rope frequency factors", {}, std::to_string(pairs) + " values",
                  std::to_string(divisors.size()));
    for (std::size_t i = 0; i < out.inverse.size(); ++i) out.inverse[i] /= static_cast<f64>(divisors[i]);
  }
  // Real ones are about 1. cos_sin() counts quarter turns as integers, up to any position.
  constexpr f64 most = 1 << 20;
  for (const f64 f : out.inverse)
    if (!(f > 0.0 && f <= most) || !std::isfinite(out.magnitude))
      return fail(Errc::bad_metadata, "rope parameters give no usable frequency", {},
                  "more than 0, at most " + std::to_string(static_cast<int>(most)) + " radians per position",
                  std::to_string(f));
  return out;
}

/// cos and sin of x >= 0, |error| < 1e-13 for x < 2^22. Own code: the C library picks its version by the CPU, which
/// would change bits from machine to machine. Quarter turns are taken off with a two-part pi/2 (Cody and Waite 1980),
/// the rest is a Taylor polynomial on [-pi/4, pi/4].
inline void cos_sin(f64 x, f64& cosine, f64& sine) noexcept {
  const f64 turns = std::floor(std::fma(x, 2.0 / std::numbers::pi, 0.5));
  f64 y = std::fma(turns, -0x1.921fb54442d18p+0, x);
  y = std::fma(turns, -0x1.1a62633145c07p-54, y);
  const f64 z = y * y;
  f64 s = -1.0 / 1307674368000.0;  // 1/15!
  for (const f64 c : {1.0 / 6227020800.0, -1.0 / 39916800.0, 1.0 / 362880.0, -1.0 / 5040.0, 1.0 / 120.0, -1.0 / 6.0, 1.0})
    s = std::fma(s, z, c);
  s *= y;
  f64 c = 1.0 / 20922789888000.0;  // 1/16!
  for (const f64 k : {-1.0 / 87178291200.0, 1.0 / 479001600.0, -1.0 / 3628800.0, 1.0 / 40320.0, -1.0 / 720.0, 1.0 / 24.0, -0.5, 1.0})
    c = std::fma(c, z, k);
  switch (static_cast<long long>(turns) & 3) {
    case 0: cosine = c, sine = s; break;
    case 1: cosine = -s, sine = c; break;
    case 2: cosine = -c, sine = -s; break;
    default: cosine = s, sine = -c; break;
  }
}

}  // namespace tmodel::inline v0
