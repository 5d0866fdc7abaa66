#pragma once
// Where a weight stands in a file: the one table of tensor names, tensors that hold several weights, and prefixes.
// Names: GGUF specification (tensor names), transformers' module names.

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "tmodel/core/config.hpp"
#include "tmodel/core/tensor_names.hpp"
#include "tmodel/io/tensor_source.hpp"

namespace tmodel::inline v0 {

/// Llama's names, which the other families share where they do not say otherwise.
inline constexpr std::array default_tensor_names{
    TensorName{Role::embedding, "token_embd", "model.embed_tokens"},
    TensorName{Role::output_norm, "output_norm", "model.norm"},
    TensorName{Role::output, "output", "lm_head"},
    TensorName{Role::rope_factors, "rope_freqs", ""},
    TensorName{Role::rope_factors_short, "rope_factors_short", ""},
    TensorName{Role::rope_factors_long, "rope_factors_long", ""},
    TensorName{Role::attention_norm, "blk.#.attn_norm", "model.layers.#.input_layernorm"},
    TensorName{Role::ffn_norm, "blk.#.ffn_norm", "model.layers.#.post_attention_layernorm"},
    TensorName{Role::post_attention_norm, "blk.#.post_attention_norm", "model.layers.#.post_attention_layernorm"},
    TensorName{Role::post_ffn_norm, "blk.#.post_ffw_norm", "model.layers.#.post_feedforward_layernorm"},
    TensorName{Role::q_norm, "blk.#.attn_q_norm", "model.layers.#.self_attn.q_norm"},
    TensorName{Role::k_norm, "blk.#.attn_k_norm", "model.layers.#.self_attn.k_norm"},
    TensorName{Role::qkv, "blk.#.attn_qkv", "model.layers.#.self_attn.qkv_proj"},
    TensorName{Role::q, "blk.#.attn_q", "model.layers.#.self_attn.q_proj"},
    TensorName{Role::k, "blk.#.attn_k", "model.layers.#.self_attn.k_proj"},
    TensorName{Role::v, "blk.#.attn_v", "model.layers.#.self_attn.v_proj"},
    TensorName{Role::o, "blk.#.attn_output", "model.layers.#.self_attn.o_proj"},
    TensorName{Role::gate_up, "", "model.layers.#.mlp.gate_up_proj"},
    TensorName{Role::gate, "blk.#.ffn_gate", "model.layers.#.mlp.gate_proj"},
    TensorName{Role::up, "blk.#.ffn_up", "model.layers.#.mlp.up_proj"},
    TensorName{Role::down, "blk.#.ffn_down", "model.layers.#.mlp.down_proj"},
    TensorName{Role::router, "blk.#.ffn_gate_inp", "model.layers.#.mlp.gate"},
    TensorName{Role::expert_gate_up, "blk.#.ffn_gate_up_exps", "model.layers.#.mlp.experts.gate_up_proj"},
    TensorName{Role::expert_gate, "blk.#.ffn_gate_exps", "model.layers.#.mlp.experts.@.gate_proj"},
    TensorName{Role::expert_up, "blk.#.ffn_up_exps", "model.layers.#.mlp.experts.@.up_proj"},
    TensorName{Role::expert_down, "blk.#.ffn_down_exps", "model.layers.#.mlp.experts.@.down_proj"},
    TensorName{Role::expert_down, "", "model.layers.#.mlp.experts.down_proj"},
};

/// Consecutive rows of a tensor, its outer dimensions taken as one.
struct RowRange {
  const TensorInfo* tensor = nullptr;
  std::size_t first = 0;
  std::size_t count = 0;
};

class TensorFinder {
 public:
  TensorFinder(const TensorSource& source, const ModelConfig& config, std::span<const TensorName> of_family)
      : source_(source), c_(config), names_(of_family), used_(source.tensors.size(), false) {
    // A model that also sees keeps the language model under a prefix.
    for (const auto [from, to] :
         {Prefix{"", ""}, Prefix{"", "language_model."}, Prefix{"model.", "model.language_model."}}) {
      prefix_ = {from, to};
      if (find(Role::embedding, 0) != nullptr) return;
    }
    prefix_ = {};
  }

  const TensorSource& source() const noexcept { return source_; }

  /// The tensor of a role under its first name that the file has, or nullptr. `number`: of an expert or head.
  const TensorInfo* find(Role role, int layer, std::string_view suffix = ".weight", int number = 0) const {
    const TensorInfo* found = nullptr;
    for_each_name(role, [&](std::string_view pattern) {
      const std::string stem = spell(pattern, layer, number);
      found = source_.find(stem + std::string(suffix));
      if (found == nullptr && suffix == ".weight") found = source_.find(stem);  // transformers' stacked experts
      return found != nullptr;
    });
    return found;
  }
  /// As find(), and the tensor counts as used.
  const TensorInfo* take(Role role, int layer, std::string_view suffix = ".weight", int number = 0) {
    const TensorInfo* t = find(role, layer, suffix, number);
    if (t != nullptr) used_[static_cast<std::size_t>(t - source_.tensors.data())] = true;
    return t;
  }
  /// The name that the file has for it, or would have.
  std::string name(Role role, int layer, std::string_view suffix = ".weight", int number = 0) const {
    if (const TensorInfo* t = find(role, layer, suffix, number)) return t->name;
    std::string best;
    for_each_name(role, [&](std::string_view pattern) {  // the pattern that the rest of the file follows, or the first
      const auto has = [&](int other, const char* end) {
        return source_.find(spell(pattern, other, number) + end) != nullptr;
      };
      const bool followed = has(0, ".weight") || has(0, ".bias") || has(1, ".weight");
      if (followed || best.empty()) best = spell(pattern, layer, number) + std::string(suffix);
      return followed;
    });
    return best;
  }
  /// The rows of a projection [rows, columns], or of its bias (columns = 0): a tensor of its own, or part of a fused
  /// one. Empty: the file has none. Errors: bad_tensor (shape).
  expected<std::vector<RowRange>> rows(Role role, int layer, std::string_view suffix, int rows, int columns) {
    const std::size_t heads = extent(c_.heads), kv = extent(c_.kv_heads), d = extent(c_.head_dim), n = extent(rows);
    const bool qkv = role == Role::q || role == Role::k || role == Role::v,
               gate_up = role == Role::gate || role == Role::up;
    if (const TensorInfo* t = qkv ? take(Role::qkv, layer, suffix) : nullptr) {
      TMODEL_CHECK(check_shape(*t, matrix((heads + 2 * kv) * d, columns)));
      if (!c_.grouped_qkv)
        return std::vector<RowRange>{{t, role == Role::q ? 0 : role == Role::k ? heads * d : (heads + kv) * d, n}};
      std::vector<RowRange> parts;
      const std::size_t queries = heads / kv, before = role == Role::q ? 0 : role == Role::k ? queries : queries + 1;
      for (std::size_t group = 0; group < kv; ++group)
        parts.push_back({t, (group * (queries + 2) + before) * d, n / kv});
      return parts;
    }
    if (const TensorInfo* t = gate_up ? take(Role::gate_up, layer, suffix) : nullptr) {
      TMODEL_CHECK(check_shape(*t, matrix(2 * n, columns)));
      return std::vector<RowRange>{{t, role == Role::up ? n : 0, n}};
    }
    const TensorInfo* t = take(role, layer, suffix);
    if (t == nullptr) return std::vector<RowRange>{};
    TMODEL_CHECK(check_shape(*t, matrix(n, columns)));
    return std::vector<RowRange>{{t, 0, n}};
  }

  /// The rows of a projection [rows, columns] of every expert: parts of stacked tensors, or a tensor each.
  /// Errors: bad_tensor (shape, missing).
  expected<std::vector<RowRange>> expert_rows(Role role, int layer, int rows, int columns) {
    const std::size_t experts = extent(c_.experts), n = extent(rows);
    std::vector<RowRange> parts;
    if (const TensorInfo* t = role == Role::expert_down ? nullptr : take(Role::expert_gate_up, layer)) {
      TMODEL_CHECK(check_shape(*t, {experts, 2 * n, extent(columns)}));
      for (std::size_t e = 0; e < experts; ++e)
        parts.push_back({t, (2 * e + (role == Role::expert_up ? 1 : 0)) * n, n});
      return parts;
    }
    const TensorInfo* first = take(role, layer);
    const bool stacked = first != nullptr && first->rank == 3;
    if (stacked) TMODEL_CHECK(check_shape(*first, {experts, n, extent(columns)}));
    for (int e = 0; e < c_.experts; ++e) {
      const TensorInfo* t = stacked ? first : take(role, layer, ".weight", e);
      if (t == nullptr) return missing(role, layer, ".weight", e);
      if (!stacked) TMODEL_CHECK(check_shape(*t, {n, extent(columns)}));
      if (t->format != parts_format(parts, *t)) return fail(Errc::unsupported, "experts in several formats", t->name);
      parts.push_back({t, stacked ? extent(e) * n : 0, n});
    }
    return parts;
  }

  expected<void> check_shape(const TensorInfo& t, const std::vector<std::uint64_t>& want) const {
    const std::span shape(t.shape.data(), static_cast<std::size_t>(t.rank));
    if (std::equal(shape.begin(), shape.end(), want.begin(), want.end())) return {};
    return fail(Errc::bad_tensor, "wrong shape", t.name, shape_text(want), shape_text(shape),
                "the configuration in " + source_.metadata.where + " is of another model size");
  }
  tl::unexpected<Error> missing(Role role, int layer, std::string_view suffix = ".weight", int number = 0) const {
    const auto fused = [&](Role one) {  // the family's own name for it
      return std::any_of(names_.begin(), names_.end(), [&](const TensorName& entry) { return entry.role == one; });
    };
    if ((role == Role::q || role == Role::k || role == Role::v) && fused(Role::qkv)) role = Role::qkv;
    if ((role == Role::gate || role == Role::up) && fused(Role::gate_up)) role = Role::gate_up;
    return fail(Errc::bad_tensor, "tensor is missing", name(role, layer, suffix, number), {}, {},
                "the file is incomplete or of another family");
  }

  /// The first tensor that nothing has used and the family does not ignore, or nullptr.
  const TensorInfo* left_over() const {
    for (std::size_t i = 0; i < used_.size(); ++i) {
      const std::string& tensor = source_.tensors[i].name;
      const auto ignored = [&](const std::string& part) {
        return part.ends_with('.') ? tensor.starts_with(part)
                                   : tensor.ends_with(part) || tensor.ends_with(part + ".weight");
      };
      if (!used_[i] && std::none_of(c_.ignored_tensors.begin(), c_.ignored_tensors.end(), ignored))
        return &source_.tensors[i];
    }
    return nullptr;
  }

 private:
  static std::size_t extent(int n) noexcept { return static_cast<std::size_t>(n); }
  static std::vector<std::uint64_t> matrix(std::size_t rows, int columns) {
    return columns == 0 ? std::vector<std::uint64_t>{rows} : std::vector<std::uint64_t>{rows, extent(columns)};
  }
  static format_id parts_format(const std::vector<RowRange>& parts, const TensorInfo& otherwise) noexcept {
    return parts.empty() ? otherwise.format : parts.front().tensor->format;
  }
  static std::string shape_text(std::span<const std::uint64_t> shape) {
    std::string text = "[";
    for (const std::uint64_t n : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(n);
    return text + "]";
  }
  struct Prefix {
    std::string_view from, to;
  };

  /// Calls fn(pattern) for the names of a role until it returns true.
  template <class Fn>
  void for_each_name(Role role, Fn&& fn) const {
    bool of_family = false;
    for (const std::span<const TensorName> table : {names_, std::span<const TensorName>(default_tensor_names)}) {
      for (const TensorName& entry : table) {
        if (entry.role != role) continue;
        of_family = true;
        const std::string_view pattern = source_.metadata.dialect == Dialect::gguf ? entry.gguf : entry.huggingface;
        if (!pattern.empty() && fn(pattern)) return;
      }
      if (of_family) return;
    }
  }
  std::string spell(std::string_view pattern, int layer, int number) const {
    std::string out;
    if (pattern.starts_with(prefix_.from)) out = prefix_.to, pattern.remove_prefix(prefix_.from.size());
    for (const char c : pattern) {
      if (c == '#')
        out += std::to_string(layer);
      else if (c == '@')
        out += std::to_string(number);
      else
        out += c;
    }
    return out;
  }

  const TensorSource& source_;
  const ModelConfig& c_;
  std::span<const TensorName> names_;
  Prefix prefix_;
  std::vector<bool> used_;
};

}  // namespace tmodel::inline v0
