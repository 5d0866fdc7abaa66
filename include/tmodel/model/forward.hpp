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

/// Self-attention: in [n, d] -> ws.a [n, d].
template <DecoderSpec S, class B>
void attention(typename B::Queue& be, const ModelConfig& c, const LayerWeights<B>& w, typename B::Rows in, const Workspace<B>& ws) {
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
  be.attend(shape, q, o);                                          // [n, H*D]
  ws.tap(be, Tap::heads, w.plan.layer, o);
  matmul<B>(be, w.o, be.prepare(o, w.o.acts()), ws.a.first(n));  // [n, d]
  ws.tap(be, Tap::attention, w.plan.layer, ws.a.first(n));
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

/// One decoder layer, in place on the residual stream ws.x [n, d].
template <DecoderSpec S, class B>
void decoder_layer(typename B::Queue& be, const ModelConfig& c, const LayerWeights<B>& w, int n, const Workspace<B>& ws) {
  const auto x = ws.x.first(n), h = ws.h.first(n), a = ws.a.first(n);
  const auto tap = [&](Tap which, typename B::Rows rows) { ws.tap(be, which, w.plan.layer, rows); };

  if constexpr (is_parallel(S.place)) {
    // x += attention(norm x) + ffn(norm' x); both branches read the same x
    constexpr bool two = S.place == NormPlace::parallel_two;
    be.template norm<S.norm>(x, w.attention_norm, h);
    tap(Tap::attention_norm, h);
    if constexpr (two) be.template norm<S.norm>(x, w.ffn_norm, ws.h2.first(n)), tap(Tap::ffn_norm, ws.h2.first(n));
    attention<S, B>(be, c, w, h, ws);
    ffn<S, B>(be, c, w, two ? ws.h2.first(n) : h, ws.f.first(n), ws);
    tap(Tap::ffn, ws.f.first(n));
    be.add(a, ws.f.first(n), 1.f);
    be.add(x, a, c.residual_scale);
  } else {
    // x += [norm] attention([norm] x);  x += [norm] ffn([norm] x)
    constexpr bool before = S.place != NormPlace::post;
    constexpr bool after = S.place == NormPlace::post || S.place == NormPlace::sandwich;
    if constexpr (before) be.template norm<S.norm>(x, w.attention_norm, h), tap(Tap::attention_norm, h);
    attention<S, B>(be, c, w, before ? h : x, ws);
    if constexpr (after) be.template norm<S.norm>(a, w.post_attention_norm, a);
    be.add(x, a, c.residual_scale);
    tap(Tap::middle, x);

    if constexpr (before) be.template norm<S.norm>(x, w.ffn_norm, h), tap(Tap::ffn_norm, h);
    ffn<S, B>(be, c, w, before ? h : x, a, ws);
    tap(Tap::ffn, a);
    if constexpr (after) be.template norm<S.norm>(a, w.post_ffn_norm, a);
    be.add(x, a, c.residual_scale);
  }
  tap(Tap::residual, x);
}

/// All layers and the head. Leaves logits [m, V] of the step's logit rows in ws.logits. False: cancelled or failed.
template <DecoderSpec S, class B>
bool forward(typename B::Queue& be, const ModelConfig& c, const Weights<B>& w, const Step<typename B::Kv>& step, const Workspace<B>& ws) {
  const int n = step.rows(), m = static_cast<int>(step.logit_rows.size());
  const auto x = ws.x.first(n), last = ws.last.first(m), logits = ws.logits.first(m);

  be.begin(step);
  w.embedding.visit([&](const auto& table) { be.embed(table, x, c.embedding_scale); });
  ws.tap(be, Tap::embedding, -1, x);
  for (const LayerWeights<B>& layer : w.layers) {
    decoder_layer<S, B>(be, c, layer, n, ws);
    if (!be.end_layer()) return false;
  }
  if (m == 0) return true;
  be.select(x, last);
  be.template norm<S.norm>(last, w.output_norm, last);
  ws.tap(be, Tap::output_norm, -1, last);
  matmul<B>(be, w.output, be.prepare(last, w.output.acts()), logits);
  be.finish_logits(logits, c.logit_scale, c.final_softcap);
  ws.tap(be, Tap::logits, -1, logits);
  return true;
}

}  // namespace tmodel::inline v0
