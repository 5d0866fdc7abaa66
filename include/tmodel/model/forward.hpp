#pragma once
// THE FORWARD PASS. A decoder as the papers draw it, once for every family, backend, format and batch.
//
//   tokens -> embedding -> [ decoder layer ] x L -> norm -> head -> logits
//
// S is the structure (which norms, which ffn); sizes and scalars are in ModelConfig; formats are inside the weights.
// Shapes: n rows of this step, d model width, H query heads, K key/value heads, D head width, F ffn width, V vocabulary.
// Rows of several sessions may stand in one step; only rope, kv_store and attend know whose row is whose.

#include "tmodel/core/concepts.hpp"
#include "tmodel/model/weights.hpp"
#include "tmodel/model/workspace.hpp"

namespace tmodel::inline v0 {

/// y = x wT + bias, whatever the format of w.
template <class B>
void matmul(typename B::Queue& q, const Linear<B>& w, const typename B::Prepared& x, typename B::Rows y) {
  w.visit([&](const auto& m) { q.matmul(m, x, y, w.bias); });
}

/// Self-attention: in [n, d] -> ws.a [m, d], of all rows or of those whose logits are wanted.
template <DecoderSpec S, class B>
void attention(typename B::Queue& be, const ModelConfig& c, const LayerWeights<B>& w, typename B::Rows in, int m,
               const Workspace<B>& ws) {
  const int n = in.n;
  const auto q = ws.q.first(n), k = ws.k.first(n), v = ws.v.first(n), o = ws.o.first(n);
  const AttentionShape shape{.cache = w.plan.cache,
                             .heads = c.heads,
                             .kv_heads = c.kv_heads,
                             .head_dim = c.head_dim,
                             .rotary_dim = c.rotary_dim,
                             .rope_table = w.plan.rope_table,
                             .pairing = c.rope_pairing,
                             .window = w.plan.window,
                             .scale = c.attention_scale,
                             .softcap = c.attention_softcap,
                             .alibi = c.alibi};

  const auto h = be.prepare(in, w.q.acts() | w.k.acts() | w.v.acts());  // quantised once, used three times
  matmul<B>(be, w.q, h, q);  // [n, H*D]
  matmul<B>(be, w.k, h, k);  // [n, K*D]
  matmul<B>(be, w.v, h, v);  // [n, K*D]

  if constexpr (S.qk_norm != QkNorm::none) {
    constexpr bool whole = S.qk_norm == QkNorm::whole;
    if (!w.q_norm.scale.empty()) be.template norm_heads<S.norm>(q, whole ? 1 : c.heads, w.q_norm, q);
    if (!w.k_norm.scale.empty()) be.template norm_heads<S.norm>(k, whole ? 1 : c.kv_heads, w.k_norm, k);
  }
  if (shape.rope_table >= 0) {
    be.rope(q, c.heads, shape);
    be.rope(k, c.kv_heads, shape);
  }
  ws.tap(be, Tap::q, w.plan.layer, q), ws.tap(be, Tap::k, w.plan.layer, k), ws.tap(be, Tap::v, w.plan.layer, v);
  be.kv_store(shape, k, v);
  if (m == 0) return;
  be.attend(shape, q, o);  // [n, H*D]
  ws.tap(be, Tap::heads, w.plan.layer, o);
  const auto kept = m < n ? ws.q.first(m) : o;
  if (m < n) be.select(o, kept);
  matmul<B>(be, w.o, be.prepare(kept, w.o.acts()), ws.a.first(m));  // [m, d]
  ws.tap(be, Tap::attention, w.plan.layer, ws.a.first(m));
}

/// Mixture of experts: a router chooses U of E gated networks for each row. in [n, d] -> out [n, d].
template <DecoderSpec S, class B>
void experts(typename B::Queue& be, const ModelConfig& c, const LayerWeights<B>& w, typename B::Rows in,
             typename B::Rows out, const Workspace<B>& ws) {
  const int n = in.n, slots = n * c.experts_used;
  const auto scores = ws.scores.first(n), x = ws.expert_in.first(slots), y = ws.expert_out.first(slots);
  const auto gate = ws.expert_gate.first(slots), up = ws.expert_up.first(slots);
  const auto& routes = ws.routes;
  const auto multiply = [&](const ExpertLinear<B>& weight, const auto& from, typename B::Rows to) {
    weight.visit([&](const auto& m) { be.expert_matmul(m, from, routes, to); });
  };
  matmul<B>(be, w.router, be.prepare(in, w.router.acts()), scores);  // [n, E]
  be.route(scores, c.normalize_routes, routes);                      // softmax, the U best, their weights
  be.gather(in, routes, x);                                          // [n*U, d], by expert
  const auto h = be.prepare(x, w.expert_gate.acts() | w.expert_up.acts());
  multiply(w.expert_gate, h, gate);  // [n*U, F]
  multiply(w.expert_up, h, up);      // [n*U, F]
  be.template activate_gate<S.activation>(gate, up);
  multiply(w.expert_down, be.prepare(gate, w.expert_down.acts()), y);  // [n*U, d]
  be.combine(y, routes, out);                                          // weighted sums, back in the rows' order
}

/// Feed-forward network: in [n, d] -> out [n, d].
template <DecoderSpec S, class B>
void ffn(typename B::Queue& be, const ModelConfig& c, const LayerWeights<B>& w, typename B::Rows in,
         typename B::Rows out, const Workspace<B>& ws) {
  if constexpr (S.ffn == FfnKind::experts)
    if (w.plan.experts) return experts<S, B>(be, c, w, in, out, ws);
  const auto up = ws.up.first(in.n);
  if constexpr (S.ffn != FfnKind::plain) {
    const auto gate = ws.gate.first(in.n);
    const auto h = be.prepare(in, w.gate.acts() | w.up.acts());
    matmul<B>(be, w.gate, h, gate);                         // [n, F]
    matmul<B>(be, w.up, h, up);                             // [n, F]
    be.template activate_gate<S.activation>(gate, up);      // act(gate) * up
    matmul<B>(be, w.down, be.prepare(gate, w.down.acts()), out);
  } else {
    matmul<B>(be, w.up, be.prepare(in, w.up.acts()), up);   // [n, F]
    be.template activate<S.activation>(up);
    matmul<B>(be, w.down, be.prepare(up, w.down.acts()), out);
  }
}

/// One decoder layer on the residual stream: x [n, d] -> y [m, d]. y is x but in the last layer, where only the rows
/// whose logits are wanted go on behind the attention.
template <DecoderSpec S, class B>
void decoder_layer(typename B::Queue& be, const ModelConfig& c, const LayerWeights<B>& w, typename B::Rows x,
                   typename B::Rows y, const Workspace<B>& ws) {
  const int n = x.n, m = y.n;
  const auto a = ws.a.first(m);
  const auto tap = [&](Tap which, typename B::Rows rows) { ws.tap(be, which, w.plan.layer, rows); };
  constexpr bool parallel = is_parallel(S.place);
  constexpr bool before = S.place != NormPlace::post;
  constexpr bool after = S.place == NormPlace::post || S.place == NormPlace::sandwich;

  if constexpr (before)
    be.template norm<S.norm>(x, w.attention_norm, ws.h.first(n)), tap(Tap::attention_norm, ws.h.first(n));
  attention<S, B>(be, c, w, before ? ws.h.first(n) : x, m, ws);
  if (m == 0) return;  // keys and values are all that later chunks need of this one
  if (m < n) be.select(x, y);

  if constexpr (parallel) {
    // x += attention(norm x) + ffn(norm' x); both branches read the same x
    constexpr bool two = S.place == NormPlace::parallel_two;
    const auto h = two ? ws.h2.first(m) : ws.h.first(m);
    if constexpr (two) be.template norm<S.norm>(y, w.ffn_norm, h), tap(Tap::ffn_norm, h);
    if (!two && m < n) be.template norm<S.norm>(y, w.attention_norm, h);
    ffn<S, B>(be, c, w, h, ws.f.first(m), ws);
    tap(Tap::ffn, ws.f.first(m));
    be.add(a, ws.f.first(m), 1.f);
    be.add(y, a, c.residual_scale);
  } else {
    // x += [norm] attention([norm] x);  x += [norm] ffn([norm] x)
    const auto h = ws.h.first(m);
    if constexpr (after) be.template norm<S.norm>(a, w.post_attention_norm, a);
    be.add(y, a, c.residual_scale);
    tap(Tap::middle, y);

    if constexpr (before) be.template norm<S.norm>(y, w.ffn_norm, h), tap(Tap::ffn_norm, h);
    ffn<S, B>(be, c, w, before ? h : y, a, ws);
    tap(Tap::ffn, a);
    if constexpr (after) be.template norm<S.norm>(a, w.post_ffn_norm, a);
    be.add(y, a, c.residual_scale);
  }
  tap(Tap::residual, y);
}

/// All layers and the head. Leaves logits [m, V] of the step's logit rows in ws.logits. False: cancelled or failed.
template <DecoderSpec S, class B>
bool forward(typename B::Queue& be, const ModelConfig& c, const Weights<B>& w, const Step<typename B::Kv>& step, const Workspace<B>& ws) {
  const int n = step.rows(), m = static_cast<int>(step.logit_rows.size());
  const auto x = ws.x.first(n), last = m < n ? ws.last.first(m) : x, logits = ws.logits.first(m);

  be.begin(step);
  w.embedding.visit([&](const auto& table) { be.embed(table, x, c.embedding_scale); });
  ws.tap(be, Tap::embedding, -1, x);
  for (const LayerWeights<B>& layer : w.layers) {
    decoder_layer<S, B>(be, c, layer, x, &layer == &w.layers.back() ? last : x, ws);
    if (!be.end_layer()) return false;
  }
  if (m == 0) return true;
  be.template norm<S.norm>(last, w.output_norm, last);
  ws.tap(be, Tap::output_norm, -1, last);
  matmul<B>(be, w.output, be.prepare(last, w.output.acts()), logits);
  be.finish_logits(logits, c.logit_scale, c.final_softcap);
  ws.tap(be, Tap::logits, -1, logits);
  return true;
}

}  // namespace tmodel::inline v0
