#pragma once
// Tensors of a file -> weights of a decoder. Demands exactly the tensors that spec and configuration imply: a missing
// one, an extra one and a wrong shape are errors that name it, so that a wrong spec fails here and not as bad text.

#include <string>
#include <vector>

#include "tmodel/io/stored_formats.hpp"
#include "tmodel/model/tensor_finder.hpp"
#include "tmodel/model/weights.hpp"
#include "tmodel/quant/all.hpp"

namespace tmodel::inline v0 {

/// What to do with a weight format that the backend has no kernel for.
enum class MissingFormat : std::uint8_t { refuse, convert_to_f16, convert_to_f32 };

/// One walk over all weights. With a counting arena it is the memory plan; nothing of the tensors' data is read then.
template <class B>
class Loader {
 public:
  using Arena = typename B::Arena;
  using Vec = typename B::Vec;

  Loader(const TensorSource& source, const ModelConfig& config, const DecoderSpec& spec,
         std::span<const TensorName> names, MissingFormat missing, Arena& arena)
      : finder_(source, config, names), c_(config), spec_(spec), missing_(missing), arena_(arena) {}

  /// Errors: bad_tensor, unsupported (format), and what the arena reports.
  expected<Weights<B>> load() {
    Weights<B> w;
    TMODEL_TRY(w.embedding, linear(Role::embedding, 0, c_.vocab, c_.dim, Presence::no));
    for (const LayerPlan& plan : c_.plans) {
      LayerWeights<B> layer;
      layer.plan = plan;
      TMODEL_CHECK(norms(plan.layer, layer));
      TMODEL_CHECK(attention(plan.layer, layer));
      TMODEL_CHECK(plan.experts ? experts(plan.layer, layer) : ffn(plan.layer, layer));
      w.layers.push_back(std::move(layer));
    }
    TMODEL_CHECK(norm(Role::output_norm, 0, c_.dim, w.output_norm));
    const TensorInfo* stored = finder_.find(Role::output, 0);
    if (stored == nullptr ? c_.head != Presence::yes : c_.head == Presence::no && is_embedding(*stored)) {
      w.output = w.embedding;
      finder_.take(Role::output, 0);
      TMODEL_TRY(w.output.bias, bias(Role::output, 0, c_.vocab, c_.head_bias));
    } else {
      TMODEL_TRY(w.output, linear(Role::output, 0, c_.vocab, c_.dim, c_.head_bias));
    }
    for (const Role role : {Role::rope_factors, Role::rope_factors_short, Role::rope_factors_long})
      finder_.take(role, 0);  // read before, see complete_rope()
    if (const TensorInfo* t = finder_.left_over())
      return fail(Errc::bad_tensor, "tensor that this family does not have", t->name, {}, {},
                  "the file is of another family, or of a variant that is not supported");
    return w;
  }

 private:
  using Parts = std::vector<RowRange>;
  static std::size_t extent(int n) noexcept { return static_cast<std::size_t>(n); }

  expected<void> norms(int i, LayerWeights<B>& layer) {
    const bool before = spec_.place != NormPlace::post;
    const bool after = spec_.place == NormPlace::post || spec_.place == NormPlace::sandwich;
    if (before) TMODEL_CHECK(norm(Role::attention_norm, i, c_.dim, layer.attention_norm));
    if (before && spec_.place != NormPlace::parallel_one) TMODEL_CHECK(norm(Role::ffn_norm, i, c_.dim, layer.ffn_norm));
    if (after) TMODEL_CHECK(norm(Role::post_attention_norm, i, c_.dim, layer.post_attention_norm));
    if (after) TMODEL_CHECK(norm(Role::post_ffn_norm, i, c_.dim, layer.post_ffn_norm));
    if (spec_.qk_norm == QkNorm::none || c_.qk_norm == Presence::no) return {};
    if (c_.qk_norm == Presence::if_in_file && finder_.find(Role::q_norm, i) == nullptr) return {};
    TMODEL_CHECK(head_norm(Role::q_norm, i, c_.heads, layer.q_norm));
    return head_norm(Role::k_norm, i, c_.kv_heads, layer.k_norm);
  }

  expected<void> attention(int i, LayerWeights<B>& layer) {
    const int q = c_.heads * c_.head_dim, kv = c_.kv_heads * c_.head_dim;
    TMODEL_TRY(layer.q, linear(Role::q, i, q, c_.dim, c_.qkv_bias));
    TMODEL_TRY(layer.k, linear(Role::k, i, kv, c_.dim, c_.qkv_bias));
    TMODEL_TRY(layer.v, linear(Role::v, i, kv, c_.dim, c_.qkv_bias));
    TMODEL_TRY(layer.o, linear(Role::o, i, c_.dim, q, c_.o_bias));
    return {};
  }

  expected<void> ffn(int i, LayerWeights<B>& layer) {
    if (spec_.ffn != FfnKind::plain) {
      TMODEL_TRY(layer.gate, linear(Role::gate, i, c_.ffn_dim, c_.dim, c_.ffn_bias));
    }
    TMODEL_TRY(layer.up, linear(Role::up, i, c_.ffn_dim, c_.dim, c_.ffn_bias));
    TMODEL_TRY(layer.down, linear(Role::down, i, c_.dim, c_.ffn_dim, c_.ffn_bias));
    return {};
  }

  expected<void> experts(int i, LayerWeights<B>& layer) {
    TMODEL_TRY(layer.router, linear(Role::router, i, c_.experts, c_.dim, Presence::no));
    TMODEL_TRY(layer.expert_gate, expert_linear(Role::expert_gate, i, c_.expert_ffn_dim, c_.dim));
    TMODEL_TRY(layer.expert_up, expert_linear(Role::expert_up, i, c_.expert_ffn_dim, c_.dim));
    TMODEL_TRY(layer.expert_down, expert_linear(Role::expert_down, i, c_.dim, c_.expert_ffn_dim));
    return {};
  }

  /// A tied model's file may hold the embedding once more. Another head than that is used: transformers 5 keeps it too.
  bool is_embedding(const TensorInfo& head) const {
    const TensorInfo* e = finder_.find(Role::embedding, 0);
    return e != nullptr && e->format == head.format && e->shape == head.shape &&
           std::equal(e->data.begin(), e->data.end(), head.data.begin(), head.data.end());
  }

  expected<void> norm(Role role, int layer, int n, NormWeights<Vec>& out) {
    out.eps = c_.norm_eps;
    TMODEL_TRY(out.scale, needed(role, layer, ".weight", n, c_.norm_offset));
    if (c_.norm_bias) {
      TMODEL_TRY(out.bias, needed(role, layer, ".bias", n));
    }
    return {};
  }

  /// Norm of the queries or keys of all heads.
  expected<void> head_norm(Role role, int layer, int heads, NormWeights<Vec>& out) {
    out.eps = c_.norm_eps;
    if (spec_.qk_norm == QkNorm::each_head) {
      TMODEL_TRY(const Parts parts, each_head(role, layer, heads));
      TMODEL_TRY(out.scale, vec(parts, heads * c_.head_dim, c_.norm_offset));
      return {};
    }
    const int n = spec_.qk_norm == QkNorm::whole ? heads * c_.head_dim : c_.head_dim;
    TMODEL_TRY(out.scale, needed(role, layer, ".weight", n, c_.norm_offset));
    if (c_.qk_norm_bias) {
      TMODEL_TRY(out.bias, needed(role, layer, ".bias", n));
    }
    return {};
  }

  /// A vector [D] of each head: one tensor [heads, D], or one each.
  expected<Parts> each_head(Role role, int layer, int heads) {
    Parts parts;
    const TensorInfo* first = finder_.take(role, layer);
    if (first == nullptr) return finder_.missing(role, layer);
    if (first->rank == 2) {
      TMODEL_CHECK(finder_.check_shape(*first, {extent(heads), extent(c_.head_dim)}));
      return Parts{{first, 0, extent(heads) * extent(c_.head_dim)}};
    }
    for (int h = 0; h < heads; ++h) {
      const TensorInfo* t = finder_.take(role, layer, ".weight", h);
      if (t == nullptr) return finder_.missing(role, layer, ".weight", h);
      TMODEL_CHECK(finder_.check_shape(*t, {extent(c_.head_dim)}));
      parts.push_back({t, 0, extent(c_.head_dim)});
    }
    return parts;
  }

  expected<Vec> needed(Role role, int layer, std::string_view suffix, int n, f32 offset = 0) {
    TMODEL_TRY(const Parts parts, finder_.rows(role, layer, suffix, n, 0));
    if (parts.empty()) return finder_.missing(role, layer, suffix);
    return vec(parts, n, offset);
  }
  expected<Vec> bias(Role role, int layer, int n, Presence presence) {
    if (presence == Presence::yes) return needed(role, layer, ".bias", n);
    if (presence == Presence::no) return Vec{};
    TMODEL_TRY(const Parts parts, finder_.rows(role, layer, ".bias", n, 0));
    return parts.empty() ? Vec{} : vec(parts, n, 0);
  }

  /// The elements of all parts, one after the other, in any dense format; kept as f32.
  expected<Vec> vec(const Parts& parts, int n, f32 offset) {
    Vec out;
    const bool dense = DenseFormats::visit(parts.front().tensor->format, [&]<class Q>() {
      const auto fill = [&](std::span<f32> values) {
        std::size_t at = 0;
        typename Q::Block block;  // element by element: the file need not be aligned
        for (const RowRange& part : parts)
          for (std::size_t i = 0; i < part.count; ++i, ++at) {
            std::memcpy(&block, part.tensor->data.data() + (part.first + i) * sizeof block, sizeof block);
            Q::dequantize(&block, values.subspan(at, 1));
            values[at] += offset;
          }
      };
      out = arena_.vec(n, fill);
    });
    if (!dense)
      return fail(Errc::unsupported, "format of a vector", parts.front().tensor->name, "F32, F16 or BF16",
                  stored_format_name(parts.front().tensor->format));
    return out;
  }

  /// A weight [rows, columns] with its bias [rows].
  expected<Linear<B>> linear(Role role, int layer, int rows, int columns, Presence with_bias) {
    TMODEL_TRY(const Parts parts, finder_.rows(role, layer, ".weight", rows, columns));
    if (parts.empty()) return finder_.missing(role, layer);
    TMODEL_CHECK(check_format(parts, columns));
    Linear<B> out;
    const bool native = B::Formats::visit(parts.front().tensor->format, [&]<class Q>() {
      if (parts.size() == 1)
        out.template set<Q>(arena_.template matrix<Q>(bytes<Q>(parts.front(), columns), rows, columns));
      else
        out.template set<Q>(gathered<Q>(parts, rows, columns));
    });
    if (!native)
      TMODEL_CHECK(convert(parts, rows, columns, [&]<class Target>(auto matrix) { out.template set<Target>(matrix); }));
    TMODEL_TRY(out.bias, bias(role, layer, rows, with_bias));
    return out;
  }

  /// A weight [rows, columns] of every expert.
  expected<ExpertLinear<B>> expert_linear(Role role, int layer, int rows, int columns) {
    ExpertLinear<B> out;
    if constexpr ((B::Ops::bits & static_cast<std::uint32_t>(Op::experts)) != 0) {
      TMODEL_TRY(const Parts parts, finder_.expert_rows(role, layer, rows, columns));
      TMODEL_CHECK(check_format(parts, columns));
      const bool native = B::Formats::visit(parts.front().tensor->format, [&]<class Q>() {
        std::vector<std::span<const std::byte>> pieces;
        for (const RowRange& part : parts) pieces.push_back(bytes<Q>(part, columns));
        out.template set<Q>(arena_.template experts<Q>(pieces, rows, columns));
      });
      if (!native)
        TMODEL_CHECK(convert(parts, rows * c_.experts, columns, [&]<class Target>(auto matrix) {
          out.template set<Target>(arena_.template experts<Target>(matrix, c_.experts));
        }));
    }
    return out;
  }

  expected<void> check_format(const Parts& parts, int columns) const {
    for (const RowRange& part : parts) {
      const TensorInfo& t = *part.tensor;
      const FormatTraits* format = find_format(t.format);
      if (format == nullptr) continue;  // said by convert()
      std::size_t elements = 1;
      for (int i = 0; i < t.rank; ++i) elements *= static_cast<std::size_t>(t.shape[static_cast<std::size_t>(i)]);
      if (extent(columns) % format->block_len != 0 ||
          t.data.size() != elements / format->block_len * format->block_bytes)
        return fail(Errc::bad_tensor, "size does not fit the format", t.name, {}, format->name);
    }
    return {};
  }

  template <class Q>
  static std::span<const std::byte> bytes(const RowRange& part, int columns) {
    const std::size_t row = extent(columns) / Q::block_len * sizeof(typename Q::Block);
    return part.tensor->data.subspan(part.first * row, part.count * row);
  }

  /// The bytes of one row, counted over all parts.
  template <class Q>
  static std::span<const std::byte> row_of(const Parts& parts, int row, int columns) {
    auto at = extent(row);
    for (const RowRange& part : parts) {
      if (at < part.count) return bytes<Q>({part.tensor, part.first + at, 1}, columns);
      at -= part.count;
    }
    return {};
  }

  /// Rows that do not follow each other in the file, copied so that they do.
  template <class Q>
  auto gathered(const Parts& parts, int rows, int columns) {
    const auto fill = [&](int row, typename Q::Block* blocks) {
      const auto from = row_of<Q>(parts, row, columns);
      std::memcpy(blocks, from.data(), from.size());
    };
    return arena_.template converted<Q>(rows, columns, fill);
  }

  /// Calls use<Target>(matrix) with the rows in a format that the backend has, if that was asked for.
  template <class Use>
  expected<void> convert(const Parts& parts, int rows, int columns, Use&& use) {
    const TensorInfo& t = *parts.front().tensor;
    constexpr bool has_f16 = B::Formats::template contains<F16>, has_f32 = B::Formats::template contains<F32>;
    if (find_format(t.format) != nullptr) {
      if constexpr (has_f16)
        if (missing_ == MissingFormat::convert_to_f16)
          return use.template operator()<F16>(converted<F16>(parts, rows, columns)), expected<void>();
      if constexpr (has_f32)
        if (missing_ == MissingFormat::convert_to_f32)
          return use.template operator()<F32>(converted<F32>(parts, rows, columns)), expected<void>();
    }
    std::string names;
    B::Formats::for_each([&]<class Q>() { names += (names.empty() ? "" : ", ") + std::string(Q::name); });
    return fail(Errc::unsupported, "weight format is not in this build of backend " + std::string(B::name), t.name,
                names, stored_format_name(t.format),
                find_format(t.format) != nullptr && (has_f16 || has_f32) ? "it can be converted while loading" : "");
  }

  template <class Target>
  auto converted(const Parts& parts, int rows, int columns) {
    typename B::template Matrix<Target> out;
    AllFormats::visit(parts.front().tensor->format, [&]<class Source>() {
      const auto fill = [&](int row, typename Target::Block* blocks) {
        constexpr std::size_t step = 256;  // a multiple of every block length
        alignas(64) f32 values[step];
        typename Source::Block source[step / Source::block_len];
        const auto stored = row_of<Source>(parts, row, columns);
        for (std::size_t at = 0; at < extent(columns); at += step) {
          const std::size_t n = std::min(step, extent(columns) - at);
          std::memcpy(source, stored.data() + at / Source::block_len * sizeof source[0],
                      n / Source::block_len * sizeof source[0]);
          Source::dequantize(source, std::span(values, n));
          Target::quantize(std::span<const f32>(values, n), blocks + at);
        }
      };
      out = arena_.template converted<Target>(rows, columns, fill);
    });
    return out;
  }

  TensorFinder finder_;
  const ModelConfig& c_;
  const DecoderSpec& spec_;
  MissingFormat missing_;
  Arena& arena_;
};

/// GGUF files keep the factors of llama3 scaling and of longrope as tensors [R / 2], for the model's first rope table.
inline expected<void> complete_rope(const TensorFinder& finder, ModelConfig& c) {
  RopeParams& rope = c.rope.front();
  const auto read = [&](Role role, std::vector<f32>& out) -> expected<bool> {
    const TensorInfo* t = finder.find(role, 0);
    if (t == nullptr) return false;
    const auto n = static_cast<std::size_t>(c.rotary_dim / 2);
    if (t->format != F32::gguf_id || t->rank != 1 || t->shape[0] != n || t->data.size() != n * sizeof(f32))
      return fail(Errc::bad_tensor, "rope frequency factors", t->name, "F32 [" + std::to_string(n) + "]");
    out.resize(n);
    std::memcpy(out.data(), t->data.data(), t->data.size());
    return true;
  };
  TMODEL_CHECK(read(Role::rope_factors, rope.divisors));
  TMODEL_TRY(const bool has_short, read(Role::rope_factors_short, rope.divisors));
  TMODEL_TRY(const bool has_long, read(Role::rope_factors_long, rope.long_divisors));
  if (has_short || has_long) rope.scaling = RopeScaling::longrope;
  return {};
}

}  // namespace tmodel::inline v0
