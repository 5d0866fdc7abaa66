#pragma once
// Every activation buffer of a step. Walked with a counting arena it is the plan, with a real one the memory.

#include <algorithm>

#include "tmodel/core/concepts.hpp"
#include "tmodel/model/tap.hpp"

namespace tmodel::inline v0 {

/// n = rows of a step, m = rows whose logits are wanted.
template <class B>
struct Workspace {
  using Rows = typename B::Rows;
  Rows x;            ///< residual stream [n, d]
  Rows h;            ///< normed input of attention or ffn [n, d]
  Rows h2;           ///< second normed input, parallel_two only [n, d]
  Rows q, k, v;      ///< [n, H*D], [n, K*D], [n, K*D]
  Rows o;            ///< attention output per head [n, H*D]
  Rows a;            ///< attention or ffn output [n, d]
  Rows f;            ///< ffn output beside a, parallel places only [n, d]
  Rows gate, up;     ///< [n, F]
  Rows scores;       ///< of the router [n, E]
  typename B::Routes routes{};  ///< which experts each row goes to
  Rows expert_in, expert_gate, expert_up,
      expert_out;    ///< rows by expert [n*U, d], [n*U, F of an expert], the same, [n*U, d]
  Rows last;         ///< residual of the m rows [m, d]
  Rows logits;       ///< [m, V]
  Observer<B> tap{};  ///< costs a comparison with null where nobody listens

  static Workspace lay_out(typename B::Arena& arena, const ModelConfig& c, const DecoderSpec& spec, int rows,
                           int logit_rows) {
    Workspace ws;
    ws.x = arena.rows(rows, c.dim);
    ws.h = arena.rows(rows, c.dim);
    if (spec.place == NormPlace::parallel_two) ws.h2 = arena.rows(rows, c.dim);
    ws.q = arena.rows(rows, c.heads * c.head_dim);
    ws.k = arena.rows(rows, c.kv_heads * c.head_dim);
    ws.v = arena.rows(rows, c.kv_heads * c.head_dim);
    ws.o = arena.rows(rows, c.heads * c.head_dim);
    ws.a = arena.rows(rows, c.dim);
    if (is_parallel(spec.place)) ws.f = arena.rows(rows, c.dim);
    const auto has_experts = [](const LayerPlan& plan) { return plan.experts; };
    if (!std::all_of(c.plans.begin(), c.plans.end(), has_experts)) {
      if (spec.ffn != FfnKind::plain) ws.gate = arena.rows(rows, c.ffn_dim);
      ws.up = arena.rows(rows, c.ffn_dim);
    }
    if constexpr ((B::Ops::bits & static_cast<std::uint32_t>(Op::experts)) != 0)
      if (std::any_of(c.plans.begin(), c.plans.end(), has_experts)) {
        const int slots = rows * c.experts_used;
        ws.scores = arena.rows(rows, c.experts);
        ws.routes = arena.routes(rows, c.experts, c.experts_used);
        ws.expert_in = arena.rows(slots, c.dim);
        ws.expert_gate = arena.rows(slots, c.expert_ffn_dim);
        ws.expert_up = arena.rows(slots, c.expert_ffn_dim);
        ws.expert_out = arena.rows(slots, c.dim);
      }
    ws.last = arena.rows(logit_rows, c.dim);
    ws.logits = arena.rows(logit_rows, c.vocab);
    return ws;
  }
};

}  // namespace tmodel::inline v0
