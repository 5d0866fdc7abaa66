#pragma once
// Every activation buffer of a step. Walked with a counting arena it is the plan, with a real one the memory.

#include "tmodel/core/concepts.hpp"

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
  Rows last;         ///< residual of the m rows [m, d]
  Rows logits;       ///< [m, V]

  static Workspace lay_out(typename B::Arena& arena, const ModelConfig& c, const DecoderSpec& spec, int rows, int logit_rows) {
    const bool parallel = spec.place == NormPlace::parallel_one || spec.place == NormPlace::parallel_two;
    Workspace ws;
    ws.x = arena.rows(rows, c.dim);
    ws.h = arena.rows(rows, c.dim);
    if (spec.place == NormPlace::parallel_two) ws.h2 = arena.rows(rows, c.dim);
    ws.q = arena.rows(rows, c.heads * c.head_dim);
    ws.k = arena.rows(rows, c.kv_heads * c.head_dim);
    ws.v = arena.rows(rows, c.kv_heads * c.head_dim);
    ws.o = arena.rows(rows, c.heads * c.head_dim);
    ws.a = arena.rows(rows, c.dim);
    if (parallel) ws.f = arena.rows(rows, c.dim);
    if (spec.ffn == FfnKind::gated) ws.gate = arena.rows(rows, c.ffn_dim);
    ws.up = arena.rows(rows, c.ffn_dim);
    ws.last = arena.rows(logit_rows, c.dim);
    ws.logits = arena.rows(logit_rows, c.vocab);
    return ws;
  }
};

}  // namespace tmodel::inline v0
