#pragma once
// Bytes read and operations done for one token, counted from the tensors of a file and the sizes of its model. A
// multiply-add is two operations; norms, rotation and activations are left out, they are below a hundredth.

#include <algorithm>
#include <string_view>

#include "tmodel/core/config.hpp"
#include "tmodel/core/step.hpp"
#include "tmodel/io/tensor_source.hpp"

namespace bench {

struct Cost {
  double bytes = 0, ops = 0;
};
struct ModelCosts {
  Cost decode, prompt;  ///< per token
};

struct Workload {
  int prompt, chunk, decode, depth, sessions;
  tmodel::KvType kv;
};

/// Keys that a token sees, over all layers, on average over positions [begin, end).
inline double keys_seen(const tmodel::ModelConfig& c, int begin, int end) {
  double sum = 0;
  for (const tmodel::LayerPlan& plan : c.plans) {
    const double mean = 0.5 * (begin + end + 1);  // each sees itself too
    sum += plan.window > 0 ? std::min<double>(plan.window, mean) : mean;
  }
  return sum;
}

/// What products with weights cost a token, as the model has them, though behind the last layer's keys and values a
/// prompt goes on with one row: a table that is only looked up costs nothing, one that is the head too is
/// read once, as the head. Of experts, those that a token is sent to.
inline ModelCosts costs_of(const tmodel::TensorSource& source, const tmodel::ModelConfig& c, const Workload& w) {
  const auto is_any = [](std::string_view name, std::initializer_list<std::string_view> ends) {
    return std::any_of(ends.begin(), ends.end(), [&](std::string_view end) { return name.ends_with(end); });
  };
  Cost body, head, table;
  for (const tmodel::TensorInfo& t : source.tensors) {
    const bool matrix = t.rank >= 2;
    double elements = matrix ? 1 : 0;
    for (int i = 0; i < t.rank; ++i) elements *= static_cast<double>(t.shape[static_cast<std::size_t>(i)]);
    const bool expert = t.name.find("_exps.") != t.name.npos || t.name.find("experts") != t.name.npos;
    const double part = expert && c.experts > 0 ? static_cast<double>(c.experts_used) / c.experts : 1;
    Cost& cost = is_any(t.name, {"token_embd.weight", "embed_tokens.weight", "word_embeddings.weight"}) ? table
                 : t.name == "output.weight" || t.name == "lm_head.weight"                              ? head
                                                                                                        : body;
    cost.bytes += part * static_cast<double>(t.data.size());
    cost.ops += part * 2 * elements;
  }
  if (head.ops == 0) head = table;

  const double cached = 2.0 * c.kv_heads * static_cast<double>(tmodel::kv_row_bytes(w.kv, c.head_dim));
  const double scores = 4.0 * c.heads * c.head_dim;  // a product with a key, and with a value
  const double decode_keys = keys_seen(c, w.depth, w.depth + w.decode), prompt_keys = keys_seen(c, 0, w.prompt);
  ModelCosts costs;
  costs.decode.bytes = (body.bytes + head.bytes) / w.sessions + cached * decode_keys;
  costs.decode.ops = body.ops + head.ops + scores * decode_keys;
  const double together = std::max(1, std::min(w.prompt, w.chunk));
  costs.prompt.bytes = body.bytes / together + cached * prompt_keys / together;
  costs.prompt.ops = body.ops + scores * prompt_keys;
  return costs;
}

}  // namespace bench
