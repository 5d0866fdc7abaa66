#pragma once
// Tensors of a file -> weights of a decoder. Demands exactly the tensors that spec and configuration imply: a missing
// one, an extra one and a wrong shape are errors that name it, so that a wrong spec fails here and not as bad text.

#include <string>
#include <vector>

#include "tmodel/io/stored_formats.hpp"
#include "tmodel/io/tensor_source.hpp"
#include "tmodel/model/weights.hpp"
#include "tmodel/quant/all.hpp"

namespace tmodel::inline v0 {

/// What to do with a weight format that the backend has no kernel for.
enum class MissingFormat : std::uint8_t { refuse, convert_to_f16, convert_to_f32 };

namespace detail {
inline std::string shape_text(std::span<const std::uint64_t> shape) {
  std::string text = "[";
  for (const std::uint64_t n : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(n);
  return text + "]";
}
}  // namespace detail

/// One walk over all weights. With a counting arena it is the memory plan; nothing of the tensors' data is read then.
template <class B>
class Loader {
 public:
  using Arena = typename B::Arena;
  using Vec = typename B::Vec;
  using PlanFn = LayerPlan (*)(const ModelConfig&, int);

  Loader(const TensorSource& source, const ModelConfig& config, const DecoderSpec& spec, MissingFormat missing,
         Arena& arena)
      : source_(source),
        c_(config),
        spec_(spec),
        missing_(missing),
        arena_(arena),
        used_(source.tensors.size(), false) {}

  /// Errors: bad_tensor, unsupported (format), and what the arena reports.
  expected<Weights<B>> load(PlanFn plan) {
    Weights<B> w;
    const int d = c_.dim, q = c_.heads * c_.head_dim, kv = c_.kv_heads * c_.head_dim, f = c_.ffn_dim;
    const bool parallel = spec_.place == NormPlace::parallel_one || spec_.place == NormPlace::parallel_two;
    const bool pre = spec_.place != NormPlace::post;
    const bool after = spec_.place == NormPlace::post || spec_.place == NormPlace::sandwich;

    TMODEL_TRY(w.embedding, linear(Role::embedding, 0, c_.vocab, d, Presence::no));
    for (int i = 0; i < c_.layers; ++i) {
      LayerWeights<B> layer;
      layer.plan = plan(c_, i);
      if (pre) TMODEL_CHECK(norm(Role::attention_norm, i, d, layer.attention_norm));
      if (pre && (!parallel || spec_.place == NormPlace::parallel_two))
        TMODEL_CHECK(norm(Role::ffn_norm, i, d, layer.ffn_norm));
      if (after) TMODEL_CHECK(norm(Role::post_attention_norm, i, d, layer.post_attention_norm));
      if (after) TMODEL_CHECK(norm(Role::post_ffn_norm, i, d, layer.post_ffn_norm));
      TMODEL_TRY(layer.q, linear(Role::q, i, q, d, c_.qkv_bias));
      TMODEL_TRY(layer.k, linear(Role::k, i, kv, d, c_.qkv_bias));
      TMODEL_TRY(layer.v, linear(Role::v, i, kv, d, c_.qkv_bias));
      TMODEL_TRY(layer.o, linear(Role::o, i, d, q, c_.o_bias));
      if (spec_.ffn == FfnKind::gated) {
        TMODEL_TRY(layer.gate, linear(Role::gate, i, f, d, c_.ffn_bias));
      }
      TMODEL_TRY(layer.up, linear(Role::up, i, f, d, c_.ffn_bias));
      TMODEL_TRY(layer.down, linear(Role::down, i, d, f, c_.ffn_bias));
      w.layers.push_back(std::move(layer));
    }
    TMODEL_CHECK(norm(Role::output_norm, 0, d, w.output_norm));
    const std::string head = name(Role::output, 0, ".weight");
    const TensorInfo* stored = source_.find(head);
    if (stored == nullptr ? c_.head != Presence::yes : c_.head == Presence::no && is_embedding(*stored)) {
      w.output = w.embedding;
      take(head);
    } else {
      TMODEL_TRY(w.output, linear(Role::output, 0, c_.vocab, d, c_.head_bias));
    }
    TMODEL_CHECK(nothing_left());
    return w;
  }

 private:
  std::string name(Role role, int layer, std::string_view suffix) const {
    return tensor_name(role, source_.metadata.dialect, layer, suffix);
  }
  const TensorInfo* take(const std::string& name) {
    const TensorInfo* t = source_.find(name);
    if (t != nullptr) used_[static_cast<std::size_t>(t - source_.tensors.data())] = true;
    return t;
  }
  /// A tied model's file may hold the embedding once more. Another head than that is used: transformers 5 keeps it too.
  bool is_embedding(const TensorInfo& head) const {
    const TensorInfo* e = source_.find(name(Role::embedding, 0, ".weight"));
    return e != nullptr && e->format == head.format && e->shape == head.shape &&
           std::equal(e->data.begin(), e->data.end(), head.data.begin(), head.data.end());
  }
  static std::size_t extent(int n) noexcept { return static_cast<std::size_t>(n); }

  expected<void> check_shape(const TensorInfo& t, std::initializer_list<std::uint64_t> want) const {
    const std::span shape(t.shape.data(), static_cast<std::size_t>(t.rank));
    if (std::equal(shape.begin(), shape.end(), want.begin(), want.end())) return {};
    return fail(Errc::bad_tensor, "wrong shape", t.name, detail::shape_text(std::vector(want)),
                detail::shape_text(shape),
                "the configuration in " + source_.metadata.where + " is of another model size");
  }
  tl::unexpected<Error> missing(const std::string& tensor) const {
    return fail(Errc::bad_tensor, "tensor is missing", tensor, {}, {}, "the file is incomplete or of another family");
  }

  expected<void> norm(Role role, int layer, int n, NormWeights<Vec>& out) {
    out.eps = c_.norm_eps;
    TMODEL_TRY(out.scale, vec(name(role, layer, ".weight"), n, Presence::yes));
    if (c_.norm_bias) {
      TMODEL_TRY(out.bias, vec(name(role, layer, ".bias"), n, Presence::yes));
    }
    return {};
  }

  /// A vector [n] in any dense format, kept as f32.
  expected<Vec> vec(const std::string& tensor, int n, Presence presence) {
    const TensorInfo* t = presence == Presence::no ? nullptr : take(tensor);
    if (t == nullptr) return presence == Presence::yes ? expected<Vec>(missing(tensor)) : expected<Vec>(Vec{});
    TMODEL_CHECK(check_shape(*t, {extent(n)}));
    Vec out;
    const bool dense = DenseFormats::visit(t->format, [&]<class Q>() {
      const auto fill = [&](std::span<f32> values) {
        typename Q::Block block;  // element by element: the file need not be aligned
        for (std::size_t i = 0; i < values.size(); ++i) {
          std::memcpy(&block, t->data.data() + i * sizeof block, sizeof block);
          Q::dequantize(&block, values.subspan(i, 1));
        }
      };
      out = arena_.vec(n, fill);
    });
    if (!dense)
      return fail(Errc::unsupported, "format of a vector", t->name, "F32, F16 or BF16", stored_format_name(t->format));
    return out;
  }

  /// A weight [rows, columns] with its bias [rows].
  expected<Linear<B>> linear(Role role, int layer, int rows, int columns, Presence bias) {
    const std::string tensor = name(role, layer, ".weight");
    const TensorInfo* t = take(tensor);
    if (t == nullptr) return missing(tensor);
    TMODEL_CHECK(check_shape(*t, {extent(rows), extent(columns)}));
    Linear<B> out;
    const FormatTraits* format = find_format(t->format);
    if (format != nullptr &&
        (extent(columns) % format->block_len != 0 ||
         t->data.size() != extent(rows) * (extent(columns) / format->block_len) * format->block_bytes))
      return fail(Errc::bad_tensor, "size does not fit the format", t->name, {}, format->name);
    const bool native = format != nullptr && B::Formats::visit(t->format, [&]<class Q>() {
                          out.template set<Q>(arena_.template matrix<Q>(t->data, rows, columns));
                        });
    if (!native) TMODEL_CHECK(convert(*t, format, rows, columns, out));
    TMODEL_TRY(out.bias, vec(name(role, layer, ".bias"), rows, bias));
    return out;
  }

  expected<void> convert(const TensorInfo& t, const FormatTraits* format, int rows, int columns, Linear<B>& out) {
    constexpr bool has_f16 = B::Formats::template contains<F16>, has_f32 = B::Formats::template contains<F32>;
    if (format != nullptr) {
      if constexpr (has_f16)
        if (missing_ == MissingFormat::convert_to_f16) return convert_to<F16>(t, rows, columns, out), expected<void>();
      if constexpr (has_f32)
        if (missing_ == MissingFormat::convert_to_f32) return convert_to<F32>(t, rows, columns, out), expected<void>();
    }
    std::string names;
    B::Formats::for_each([&]<class Q>() { names += (names.empty() ? "" : ", ") + std::string(Q::name); });
    return fail(Errc::unsupported, "weight format is not in this build of backend " + std::string(B::name), t.name,
                names, stored_format_name(t.format),
                format != nullptr && (has_f16 || has_f32) ? "it can be converted while loading" : "");
  }

  template <class Target>
  void convert_to(const TensorInfo& t, int rows, int columns, Linear<B>& out) {
    AllFormats::visit(t.format, [&]<class Source>() {
      const std::size_t row_blocks = extent(columns) / Source::block_len;
      const auto fill = [&](int row, typename Target::Block* blocks) {
        constexpr std::size_t step = 256;  // a multiple of every block length
        alignas(64) f32 values[step];
        typename Source::Block source[step / Source::block_len];
        for (std::size_t at = 0; at < extent(columns); at += step) {
          const std::size_t n = std::min(step, extent(columns) - at);
          std::memcpy(source, t.data.data() + (extent(row) * row_blocks + at / Source::block_len) * sizeof source[0],
                      n / Source::block_len * sizeof source[0]);
          Source::dequantize(source, std::span(values, n));
          Target::quantize(std::span<const f32>(values, n), blocks + at);
        }
      };
      out.template set<Target>(arena_.template converted<Target>(rows, columns, fill));
    });
  }

  expected<void> nothing_left() const {
    for (std::size_t i = 0; i < used_.size(); ++i) {
      if (used_[i]) continue;
      const std::string& tensor = source_.tensors[i].name;
      if (tensor == name(Role::rope_factors, 0, ".weight")) continue;  // read before, see complete_rope()
      const auto ignored = [&](const std::string& suffix) {
        return tensor.ends_with(suffix) || tensor.ends_with(suffix + ".weight");
      };
      if (std::any_of(c_.ignored_tensors.begin(), c_.ignored_tensors.end(), ignored)) continue;
      return fail(Errc::bad_tensor, "tensor that this family does not have", tensor, {}, {},
                  "the file is of another family, or of a variant that is not supported");
    }
    return {};
  }

  const TensorSource& source_;
  const ModelConfig& c_;
  const DecoderSpec& spec_;
  MissingFormat missing_;
  Arena& arena_;
  std::vector<bool> used_;
};

/// GGUF files keep the frequency factors of llama3 scaling as a tensor: [R / 2] divisors for every rope table.
inline expected<void> complete_rope(const TensorSource& source, ModelConfig& c) {
  const TensorInfo* t = source.find(tensor_name(Role::rope_factors, source.metadata.dialect, 0, ".weight"));
  if (t == nullptr) return {};
  const auto n = static_cast<std::size_t>(c.rotary_dim / 2);
  if (t->format != F32::gguf_id || t->rank != 1 || t->shape[0] != n || t->data.size() != n * sizeof(f32))
    return fail(Errc::bad_tensor, "rope frequency factors", t->name, "F32 [" + std::to_string(n) + "]");
  for (RopeParams& rope : c.rope) {
    rope.divisors.resize(n);
    std::memcpy(rope.divisors.data(), t->data.data(), t->data.size());
  }
  return {};
}

}  // namespace tmodel::inline v0
