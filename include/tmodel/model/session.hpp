#pragma once
// Session<B>: one conversation with a model: its cached keys and values, its tokens, its scratch.
// All memory is taken when it is made. Not shared between threads; a model serves any number of sessions.

#include <optional>

#include "tmodel/core/function_ref.hpp"
#include "tmodel/core/memory.hpp"
#include "tmodel/model/model.hpp"

namespace tmodel::inline v0 {

/// What append() does when the context has no room left.
enum class WhenFull : std::uint8_t {
  error,  ///< Errc::context_full; nothing is appended
  shift,  ///< keeps the first `keep` tokens and the newer half of the rest, and computes those anew: the same state as
          ///< a fresh session that was given the kept tokens
};

struct SessionOptions {
  int context = 0;             ///< positions; 0: the model's, at most default_context
  std::optional<KvType> kv = std::nullopt;  ///< none: f32 for models with F32 weights, f16 for all others
  int chunk = 256;             ///< rows computed at once; changes speed and workspace, never results
  bool all_logits = false;     ///< room for the logits of every token of a chunk, see append()
  int rope_length = 0;         ///< positions that dynamic rope scaling and longrope are computed for; 0: context
  int start_position = 0;      ///< position of the first token, as the rotation counts
  WhenFull when_full = WhenFull::error;
  int keep = 0;                ///< tokens at the start that a shift keeps
};
inline constexpr int default_context = 4096;

struct AppendOptions {
  const std::atomic<bool>* cancel = nullptr;                       ///< set it from any thread; takes effect within a layer
  FunctionRef<void(int done, int total)> progress = {};            ///< after each chunk, in tokens
  FunctionRef<void(pos_t position, std::span<const f32>)> each = {};  ///< logits [V] of every token; needs all_logits
};

/// Memory and step of one queue of work; Session and Batch both compute through it.
template <class B>
struct Lane {
  typename B::Arena arena = B::Arena::counting();
  typename B::Queue queue;
  Workspace<B> workspace;

  static QueueLimits limits(const ModelConfig& c, int rows, int sequences, int context) {
    return {.rows = rows,
            .sequences = sequences,
            .context = context,
            .widest_input = std::max({c.dim, c.heads * c.head_dim, c.ffn_dim}),
            .acts = c.acts,
            .rotary_pairs = c.rotary_dim / 2,
            .rope_tables = static_cast<int>(c.rope.size()),
            .heads = c.heads,
            .head_dim = c.head_dim,
            .expert_rows = rows * c.experts_used,
            .expert_input = std::max(c.dim, c.expert_ffn_dim)};
  }
};

template <class B>
class Session {
 public:
  using Kv = typename B::Kv;

  /// The options with every default filled in. Errors: bad_argument, unsupported.
  static expected<SessionOptions> settle(const ModelConfig& c, SessionOptions o) {
    const auto bad = [](const char* what, std::string expected, int got) {
      return fail(Errc::bad_argument, what, "session options", expected, std::to_string(got));
    };
    if (o.context < 0 || o.context > max_context) return bad("context", "0 to " + std::to_string(max_context), o.context);
    if (o.context == 0) o.context = std::min(c.max_positions, default_context);
    if (o.chunk < 1 || o.chunk > max_chunk) return bad("chunk", "1 to " + std::to_string(max_chunk), o.chunk);
    o.chunk = std::min(o.chunk, o.context);
    if (o.rope_length < 0) return bad("rope length", "0 or more", o.rope_length);
    if (o.rope_length == 0) o.rope_length = o.context;
    if (o.keep < 0 || (o.when_full == WhenFull::shift && o.keep > o.context / 2))
      return bad("keep", "at most half the context", o.keep);
    if (o.start_position < 0 || o.start_position > max_context)
      return bad("start position", "0 to " + std::to_string(max_context), o.start_position);
    if (!o.kv) o.kv = c.f32_weights ? KvType::f32 : KvType::f16;
    if (o.kv == KvType::q8_0 && c.head_dim % 32 != 0)
      return fail(Errc::unsupported, "q8_0 cache", "session options", "a head dimension that is a multiple of 32", std::to_string(c.head_dim));
    return o;
  }

  /// Bytes that make() takes with settled options.
  static expected<MemoryUse> plan(const ModelConfig& c, const DecoderSpec& spec, const SessionOptions& o) {
    auto arena = B::Arena::counting();
    lay_out(arena, c, spec, o);
    TMODEL_CHECK(B::Queue::make(nullptr, arena, Lane<B>::limits(c, o.chunk, 1, o.context)));
    MemoryUse use = arena.use();
    use[Purpose::workspace] += host_bytes(c, o);
    return use;
  }

  /// `model` must outlive the session. Errors: bad_argument, unsupported, out_of_memory, device.
  static expected<Session> make(const Model<B>& model, const SessionOptions& options) {
    return guard([&]() -> expected<Session> {
      const ModelConfig& c = model.config();
      Session s;
      s.model_ = &model;
      TMODEL_TRY(s.options_, settle(c, options));
      auto counting = B::Arena::counting();
      lay_out(counting, c, model.spec(), s.options_);
      const QueueLimits limits = Lane<B>::limits(c, s.options_.chunk, 1, s.options_.context);
      TMODEL_CHECK(B::Queue::make(nullptr, counting, limits));
      TMODEL_TRY(s.lane_.arena, B::Arena::allocating(model.backend(), counting.use()));
      std::tie(s.kv_, s.lane_.workspace) = lay_out(s.lane_.arena, c, model.spec(), s.options_);
      TMODEL_TRY(s.lane_.queue, B::Queue::make(&model.backend(), s.lane_.arena, limits));
      TMODEL_CHECK(s.lane_.arena.finish());
      TMODEL_TRY(s.host_, Buffer::allocate(host_bytes(c, s.options_)));
      for (const RopeParams& rope : c.rope) {
        TMODEL_TRY(RopeFrequencies f, rope_frequencies(rope, c.rotary_dim, s.options_.rope_length));
        s.rope_.push_back(std::move(f));
      }
      return s;
    });
  }

  const Model<B>& model() const noexcept { return *model_; }
  const SessionOptions& options() const noexcept { return options_; }
  int capacity() const noexcept { return options_.context; }
  pos_t length() const noexcept { return length_; }
  /// The tokens so far, [length].
  std::span<const token_t> tokens() const noexcept { return {history(), static_cast<std::size_t>(length_)}; }
  /// Logits [V] of the last token; empty before the first append() and after rewind(). Samplers may write into it.
  std::span<f32> logits() noexcept { return has_logits_ ? logits_row(0) : std::span<f32>(); }
  MemoryUse use() const {
    MemoryUse use = lane_.arena.use();
    use[Purpose::workspace] += host_.size();
    return use;
  }

  /// Runs the model over further tokens. On an error the tokens of the chunks that were finished stay.
  /// Errors: bad_argument (id outside the vocabulary), context_full, cancelled, device.
  expected<void> append(std::span<const token_t> tokens, const AppendOptions& o = {}) {
    const ModelConfig& c = model_->config();
    for (const token_t id : tokens)
      if (id < 0 || id >= c.vocab)
        return fail(Errc::bad_argument, "token id", "append", "0 to " + std::to_string(c.vocab - 1), std::to_string(id));
    if (o.each && !options_.all_logits) return fail(Errc::bad_argument, "logits of every token", "append", "a session made with all_logits");
    const int total = static_cast<int>(std::min<std::size_t>(tokens.size(), static_cast<std::size_t>(max_context) + 1));
    if (total > capacity() - length_) TMODEL_CHECK(make_room(total, o));
    for (int done = 0; done < total;) {
      const int n = std::min(options_.chunk, total - done);
      TMODEL_CHECK(run_chunk(tokens.subspan(static_cast<std::size_t>(done), static_cast<std::size_t>(n)), done + n == total, o));
      done += n;
      o.progress(done, total);
    }
    return {};
  }

  /// Tells an observer of the intermediates of every further chunk; an empty one ends that.
  void observe(Observer<B> observer) noexcept { lane_.workspace.tap = observer; }

  /// Forgets everything from `position` on. Where layers with a window no longer hold what they see from there, the
  /// tokens before are computed anew, which takes as long as reading them did. Errors: bad_argument, and then those of
  /// append(), after which the session is empty.
  expected<void> rewind(pos_t position) {
    if (position < 0 || position > length_)
      return fail(Errc::bad_argument, "position", "rewind", "0 to " + std::to_string(length_), std::to_string(position));
    if (position == length_) return {};
    has_logits_ = false;
    length_ = position;
    if (position == 0) oldest_ = 0;
    if (kv_shape(model_->config(), options_).window_begin(position) >= oldest_) return {};
    length_ = oldest_ = 0;
    if (auto again = append(std::span<const token_t>(history(), static_cast<std::size_t>(position))); !again)
      return reset(tl::unexpected<Error>(std::move(again).error()));
    has_logits_ = false;
    return {};
  }

  /// A second session in the same state; the two share nothing but the model.
  expected<Session> fork() {
    TMODEL_TRY(Session copy, make(*model_, options_));
    TMODEL_CHECK(copy.lane_.queue.kv_copy(kv_, copy.kv_, length_));
    std::memcpy(copy.host_.data(), host_.data(), host_.size());
    copy.length_ = length_;
    copy.oldest_ = oldest_;
    copy.has_logits_ = has_logits_;
    return copy;
  }

  /// The state as bytes: tokens, keys, values and the last logits. For the same model, backend and kv type.
  std::size_t state_bytes() const noexcept {
    return sizeof(StateHeader) + static_cast<std::size_t>(length_) * sizeof(token_t) + static_cast<std::size_t>(model_->config().vocab) * sizeof(f32) +
           kv_state_bytes(kv_shape(model_->config(), options_), length_);
  }
  /// Errors: bad_argument (out.size() is not state_bytes()), device.
  expected<void> save(std::span<std::byte> out) {
    if (out.size() != state_bytes())
      return fail(Errc::bad_argument, "size of the state", "save", std::to_string(state_bytes()), std::to_string(out.size()));
    const StateHeader header = state_header();
    std::byte* at = out.data();
    const auto put = [&](const void* from, std::size_t n) { std::memcpy(at, from, n), at += n; };
    put(&header, sizeof header);
    put(history(), static_cast<std::size_t>(length_) * sizeof(token_t));
    put(logits_row(0).data(), logits_row(0).size_bytes());
    return lane_.queue.kv_save(kv_, length_, out.subspan(static_cast<std::size_t>(at - out.data())));
  }
  /// Errors: bad_file (not a state, or of another model), context_full, device.
  expected<void> restore(std::span<const std::byte> in) {
    StateHeader header;
    if (in.size() < sizeof header) return fail(Errc::bad_file, "not a session state", "restore");
    std::memcpy(&header, in.data(), sizeof header);
    StateHeader want = state_header();
    want.length = header.length;
    want.has_logits = header.has_logits;
    if (std::memcmp(&header, &want, sizeof header) != 0 || header.length < 0)
      return fail(Errc::bad_file, "session state of another model or cache type", "restore");
    if (header.length > capacity())
      return fail(Errc::context_full, "saved session is longer than the context", "restore", std::to_string(capacity()), std::to_string(header.length));
    const pos_t before = std::exchange(length_, header.length);
    if (in.size() != state_bytes()) {
      length_ = before;
      return fail(Errc::bad_file, "session state is cut off", "restore");
    }
    const std::byte* at = in.data() + sizeof header;
    const auto get = [&](void* to, std::size_t n) { std::memcpy(to, at, n), at += n; };
    get(history(), static_cast<std::size_t>(length_) * sizeof(token_t));
    get(logits_row(0).data(), logits_row(0).size_bytes());
    has_logits_ = header.has_logits != 0;
    oldest_ = kv_shape(model_->config(), options_).window_begin(length_);
    for (const token_t id : tokens())
      if (id < 0 || id >= model_->config().vocab) return reset(fail(Errc::bad_file, "session state holds an impossible token", "restore"));
    if (auto loaded = lane_.queue.kv_load(kv_, length_, in.subspan(static_cast<std::size_t>(at - in.data()))); !loaded)
      return reset(tl::unexpected<Error>(std::move(loaded).error()));
    return {};
  }

 private:
  template <class> friend class Batch;
  static constexpr int max_context = 1 << 22;
  static constexpr int max_chunk = 4096;

  /// First bytes of a saved state; everything that must be equal for it to mean the same.
  struct StateHeader {
    std::uint32_t magic = 0x31534D54;  // "TMS1"
    std::int32_t layers = 0, dim = 0, kv_heads = 0, head_dim = 0, vocab = 0, rope_length = 0, start_position = 0,
                 kv_type = 0;
    std::int32_t length = 0, has_logits = 0;
  };

  static KvShape kv_shape(const ModelConfig& c, const SessionOptions& o) {
    const auto windowed = static_cast<int>(
        std::count_if(c.plans.begin(), c.plans.end(), [](const LayerPlan& p) { return p.window > 0; }));
    const int ring =
        windowed == 0 ? 0 : static_cast<int>(std::min<std::int64_t>(o.context, std::int64_t{c.window} - 1 + o.chunk));
    return {.layers = c.layers - windowed,
            .windowed_layers = windowed,
            .kv_heads = c.kv_heads,
            .head_dim = c.head_dim,
            .capacity = o.context,
            .ring = ring,
            .window = windowed == 0 ? 0 : c.window,
            .type = *o.kv};
  }
  static int logit_rows(const SessionOptions& o) noexcept { return o.all_logits ? o.chunk : 1; }
  static std::pair<Kv, Workspace<B>> lay_out(typename B::Arena& arena, const ModelConfig& c, const DecoderSpec& spec, const SessionOptions& o) {
    Kv kv = arena.kv(kv_shape(c, o));
    return {kv, Workspace<B>::lay_out(arena, c, spec, o.chunk, logit_rows(o))};
  }

  // Host memory, in this order: token history, indices of logit rows, logits.
  static std::size_t tokens_bytes(const SessionOptions& o) noexcept { return round_up(static_cast<std::size_t>(o.context) * sizeof(token_t), cache_line); }
  static std::size_t rows_bytes(const SessionOptions& o) noexcept { return round_up(static_cast<std::size_t>(o.chunk) * sizeof(int), cache_line); }
  static std::size_t host_bytes(const ModelConfig& c, const SessionOptions& o) noexcept {
    return tokens_bytes(o) + rows_bytes(o) + static_cast<std::size_t>(logit_rows(o)) * static_cast<std::size_t>(c.vocab) * sizeof(f32);
  }
  token_t* history() const noexcept { return reinterpret_cast<token_t*>(host_.data()); }
  int* row_indices() const noexcept { return reinterpret_cast<int*>(host_.data() + tokens_bytes(options_)); }
  std::span<f32> logits_row(int row) const noexcept {
    const auto v = static_cast<std::size_t>(model_->config().vocab);
    return {reinterpret_cast<f32*>(host_.data() + tokens_bytes(options_) + rows_bytes(options_)) + static_cast<std::size_t>(row) * v, v};
  }

  StateHeader state_header() const noexcept {
    const ModelConfig& c = model_->config();
    StateHeader h;
    h.layers = c.layers, h.dim = c.dim, h.kv_heads = c.kv_heads, h.head_dim = c.head_dim, h.vocab = c.vocab;
    const bool by_length = std::any_of(c.rope.begin(), c.rope.end(), [](const RopeParams& r) {
      return r.scaling == RopeScaling::dynamic || r.scaling == RopeScaling::longrope;
    });
    h.rope_length = by_length ? options_.rope_length : 0, h.start_position = options_.start_position,
    h.kv_type = static_cast<std::int32_t>(*options_.kv);
    h.length = length_, h.has_logits = has_logits_ ? 1 : 0;
    return h;
  }
  tl::unexpected<Error> reset(tl::unexpected<Error> error) {
    length_ = oldest_ = 0;
    has_logits_ = false;
    return error;
  }

  /// Room for n more tokens, by a shift if that was asked for.
  expected<void> make_room(int n, const AppendOptions& o) {
    const int kept = options_.keep + (length_ - options_.keep) / 2;
    if (options_.when_full == WhenFull::error || length_ <= options_.keep || n > capacity() - kept)
      return fail(Errc::context_full, "no room in the context", "append", "at most " + std::to_string(capacity() - length_) + " tokens",
                  std::to_string(n));
    TMODEL_TRY(Buffer moved, Buffer::allocate(static_cast<std::size_t>(kept) * sizeof(token_t)));
    auto* ids = reinterpret_cast<token_t*>(moved.data());
    std::copy_n(history(), options_.keep, ids);
    std::copy_n(history() + length_ - (kept - options_.keep), kept - options_.keep, ids + options_.keep);
    length_ = oldest_ = 0;
    AppendOptions quiet;
    quiet.cancel = o.cancel;
    return append(std::span<const token_t>(ids, static_cast<std::size_t>(kept)), quiet);
  }

  expected<void> run_chunk(std::span<const token_t> tokens, bool last, const AppendOptions& o) {
    const int n = static_cast<int>(tokens.size());
    int m = 0;
    if (o.each) for (; m < n; ++m) row_indices()[m] = m;
    else if (last) row_indices()[m++] = n - 1;
    std::copy(tokens.begin(), tokens.end(), history() + length_);
    has_logits_ = false;

    const StepSequence<Kv> sequence = admit(0, n);
    const Step<Kv> step{.tokens = {history() + length_, tokens.size()}, .sequences = {&sequence, 1},
                        .logit_rows = {row_indices(), static_cast<std::size_t>(m)}, .cancel = o.cancel};
    const bool finished = model_->forward(lane_.queue, step, lane_.workspace);
    const auto v = static_cast<std::size_t>(model_->config().vocab);
    const int wanted = finished ? m : 0;
    TMODEL_CHECK(lane_.queue.download(lane_.workspace.logits.first(wanted), {logits_row(0).data(), static_cast<std::size_t>(wanted) * v}));
    if (!finished) return fail(Errc::cancelled);
    for (int i = 0; o.each && i < m; ++i) o.each(length_ + i, logits_row(i));
    if (last && m > 1) std::copy_n(logits_row(m - 1).data(), v, logits_row(0).data());
    length_ += n;
    has_logits_ = last;
    return {};
  }

  /// This session's part of a step of n rows, which overwrites the oldest keys of layers with a window.
  StepSequence<Kv> admit(int first_row, int n) {
    if (const int ring = kv_shape(model_->config(), options_).ring; ring > 0)
      oldest_ = std::max(oldest_, length_ + n - ring);
    return {.kv = &kv_,
            .rope = &rope_,
            .first_row = first_row,
            .rows = n,
            .position = length_,
            .origin = options_.start_position};
  }

  const Model<B>* model_ = nullptr;
  SessionOptions options_;
  Lane<B> lane_;
  Kv kv_{};
  Buffer host_;
  std::vector<RopeFrequencies> rope_;
  pos_t length_ = 0;
  pos_t oldest_ = 0;  ///< first position that layers with a window still hold
  bool has_logits_ = false;
};

}  // namespace tmodel::inline v0
