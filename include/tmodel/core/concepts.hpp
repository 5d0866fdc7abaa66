#pragma once
// What a family and a backend must offer. A concept checks syntax; tests/backends checks the meaning.

#include <array>
#include <atomic>
#include <concepts>
#include <cstdint>
#include <span>
#include <string_view>

#include "tmodel/core/config.hpp"
#include "tmodel/core/format.hpp"
#include "tmodel/core/function_ref.hpp"
#include "tmodel/core/memory_use.hpp"
#include "tmodel/core/metadata.hpp"
#include "tmodel/core/step.hpp"
#include "tmodel/core/tensor_names.hpp"

namespace tmodel::inline v0 {

template <DecoderSpec>
struct SpecTag {};  // naming SpecTag<F::specs[0]> proves that the specs are constant expressions

/// Whether a file has a tensor of this name. Some GGUF conventions say by their tensors alone which form a model has.
using HasTensor = FunctionRef<bool(std::string_view)>;

/// A model type: a page of facts. parse() reads sizes from either dialect of metadata; plan() says what differs by
/// layer. tensor_names, if there, lists the names that are not Llama's; models and gguf_lacks are for tables and
/// messages.
template <class F>
concept Family = requires(const Metadata& metadata, HasTensor has_tensor, const ModelConfig& config) {
  { F::name } -> std::convertible_to<std::string_view>;
  { F::model_types[0] } -> std::convertible_to<std::string_view>;         // config.json's model_type, aliases
  { F::gguf_architectures[0] } -> std::convertible_to<std::string_view>;  // general.architecture
  typename SpecTag<F::specs[0]>;
  { F::parse(metadata, has_tensor) } -> std::same_as<expected<ModelConfig>>;
  { F::plan(config, 0) } -> std::same_as<LayerPlan>;
};

/// Scale, optional bias and epsilon of a norm.
template <class Vec>
struct NormWeights {
  Vec scale;
  Vec bias;
  f32 eps = 0;
};

namespace detail {
struct ExampleFormat {  // stands for any weight format in the concept below
  struct Block {
    f32 value;
  };
  static constexpr std::string_view name = "example";
  static constexpr std::size_t block_len = 1;
  static constexpr std::uint32_t gguf_id = 0;
  static constexpr Acts acts = Acts::floats;
  static void dequantize(const Block*, std::span<f32>) noexcept {}
};
}  // namespace detail

/// Where and how the operations run. B itself is the opened device, immutable and shared between threads; a Queue holds
/// the scratch of one session or batch and does the work; an Arena hands out memory, or only counts it.
///
/// No host pointer reaches an operation and none returns a value: a failing device call sticks, later operations do
/// nothing, download() waits and returns the first error. All handles are cheap values that own nothing.
///
/// With Op::experts also arena.experts(), arena.routes() and the operations route, gather, expert_matmul and combine,
/// see backends/reference.hpp.
template <class B>
concept Backend = requires {
  typename B::Options;  // Executor, device number...
  typename B::Formats;  // FormatSet of weights it multiplies
  typename B::Ops;      // OpSet: what it does beyond Llama's operations
  typename B::Rows;     // handle [n, columns]; first(n) takes the leading rows
  typename B::Vec;      // handle of a vector; empty() = not there
  typename B::Prepared; // rows together with their quantised copy; valid until the next prepare()
  typename B::Kv;       // keys and values of one session
  typename B::Routes;   // which experts each row goes to; anything for a backend without Op::experts
  typename B::template Experts<detail::ExampleFormat>;  // a matrix of each expert; the same
  typename B::Arena;
  typename B::Queue;
} && requires(const B b, const typename B::Options& options, typename B::Arena& arena, const MemoryUse& use, FunctionRef<void(std::span<f32>)> fill, KvShape kv_shape) {
  { B::name } -> std::convertible_to<std::string_view>;
  { B::open(options) } -> std::same_as<expected<B>>;
  { B::Arena::counting() } -> std::same_as<typename B::Arena>;              // counts, allocates nothing, needs no device
  { B::Arena::allocating(b, use) } -> std::same_as<expected<typename B::Arena>>;  // exactly what was counted
  { arena.rows(1, 1) } -> std::same_as<typename B::Rows>;
  { arena.vec(1, fill) } -> std::same_as<typename B::Vec>;
  { arena.kv(kv_shape) } -> std::same_as<typename B::Kv>;
  { arena.finish() } -> std::same_as<expected<void>>;                       // first failure of the calls above
  { arena.use() } -> std::convertible_to<MemoryUse>;
  { B::Queue::make(&b, arena, QueueLimits{}) } -> std::same_as<expected<typename B::Queue>>;  // nullptr: with a counting arena
} && requires(typename B::Queue& q, const Step<typename B::Kv>& step, typename B::Rows x, typename B::Vec v, NormWeights<typename B::Vec> norm,
              const typename B::Prepared& p, const typename B::template Matrix<detail::ExampleFormat>& m, AttentionShape attention, const typename B::Kv& kv, std::span<f32> host, std::span<std::byte> bytes) {
  q.begin(step);                                              // ids, positions, angles: one upload per step
  q.embed(m, x, 1.f);                                         // x = scale * m[token of each row]
  q.template norm<NormKind::rms>(x, norm, x);                 // y may be x
  { q.prepare(x, Acts::floats) } -> std::same_as<typename B::Prepared>;
  q.matmul(m, p, x, v);                                       // y = p mT + bias, m is [out, in]
  q.rope(x, 1, attention);                                    // x [n, heads * D], in place
  q.kv_store(attention, x, x);                                // keys and values of this step's rows
  q.attend(attention, x, x);                                  // o = softmax(scale * q kT) v over the rows' own sessions
  q.template activate_gate<Activation::silu>(x, x);           // x = act(x) * y
  q.add(x, x, 1.f);                                           // x += s * y
  q.select(x, x);                                             // y = the rows whose logits are wanted
  q.finish_logits(x, 1.f, 0.f);                               // scale, then soft-cap if not 0
  { q.end_layer() } -> std::same_as<bool>;                    // false: cancelled or failed; bounds what is in flight
  { q.download(x, host) } -> std::same_as<expected<void>>;    // the only wait
  { q.kv_copy(kv, kv, 1) } -> std::same_as<expected<void>>;   // first positions of one cache into another
  { q.kv_save(kv, 1, bytes) } -> std::same_as<expected<void>>;  // kv_state_bytes(shape, length) of them
  { q.kv_load(kv, 1, bytes) } -> std::same_as<expected<void>>;
};

}  // namespace tmodel::inline v0
