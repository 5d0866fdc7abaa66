#pragma once
// Batch<B>: one step over several sessions at once, each with any number of new tokens (ragged).
// A session's results are the same bits as when it is stepped alone.

#include "tmodel/model/session.hpp"

namespace tmodel::inline v0 {

struct BatchOptions {
  int sequences = 8;  ///< sessions in a step, at most
  int rows = 64;      ///< tokens of all sessions in a step, at most
  int context = 0;    ///< longest context of a session; 0: default_context
};

template <class B>
class Batch {
 public:
  struct Entry {
    Session<B>* session = nullptr;
    std::span<const token_t> tokens;  ///< at least one
  };

  static expected<MemoryUse> plan(const ModelConfig& c, const DecoderSpec& spec, const BatchOptions& o) {
    auto arena = B::Arena::counting();
    Workspace<B>::lay_out(arena, c, spec, o.rows, o.sequences);
    TMODEL_CHECK(B::Queue::make(nullptr, arena, limits(c, o)));
    MemoryUse use = arena.use();
    use[Purpose::workspace] += host_bytes(c, o);
    return use;
  }

  /// `model` must outlive the batch. Errors: bad_argument, out_of_memory, device.
  static expected<Batch> make(const Model<B>& model, const BatchOptions& o) {
    return guard([&]() -> expected<Batch> {
      if (o.sequences < 1 || o.rows < o.sequences || o.rows > 4096)
        return fail(Errc::bad_argument, "batch options", {}, "1 <= sequences <= rows <= 4096", std::to_string(o.rows) + " rows");
      const ModelConfig& c = model.config();
      Batch b;
      b.model_ = &model;
      b.options_ = o;
      auto counting = B::Arena::counting();
      Workspace<B>::lay_out(counting, c, model.spec(), o.rows, o.sequences);
      TMODEL_CHECK(B::Queue::make(nullptr, counting, limits(c, o)));
      TMODEL_TRY(b.lane_.arena, B::Arena::allocating(model.backend(), counting.use()));
      b.lane_.workspace = Workspace<B>::lay_out(b.lane_.arena, c, model.spec(), o.rows, o.sequences);
      TMODEL_TRY(b.lane_.queue, B::Queue::make(&model.backend(), b.lane_.arena, limits(c, o)));
      TMODEL_CHECK(b.lane_.arena.finish());
      TMODEL_TRY(b.host_, Buffer::allocate(host_bytes(c, o)));
      b.sequences_.reserve(static_cast<std::size_t>(o.sequences));
      return b;
    });
  }

  /// Appends every entry's tokens to its session; afterwards each session's logits() are those of its last token.
  /// On an error no session has changed. Errors: bad_argument, context_full, cancelled, device.
  expected<void> step(std::span<const Entry> entries, const std::atomic<bool>* cancel = nullptr) {
    if (entries.size() > static_cast<std::size_t>(options_.sequences))
      return fail(Errc::bad_argument, "sessions in a step", "batch", "at most " + std::to_string(options_.sequences), std::to_string(entries.size()));
    sequences_.clear();
    int rows = 0;
    for (std::size_t i = 0; i < entries.size(); ++i) {
      const Entry& e = entries[i];
      TMODEL_CHECK(admit(entries.first(i), e, rows));
      const int n = static_cast<int>(e.tokens.size());
      std::copy(e.tokens.begin(), e.tokens.end(), tokens() + rows);
      sequences_.push_back(e.session->admit(rows, n));
      rows += n;
      logit_rows()[i] = rows - 1;
    }
    const Step<typename B::Kv> step{.tokens = {tokens(), static_cast<std::size_t>(rows)}, .sequences = sequences_,
                                    .logit_rows = {logit_rows(), entries.size()}, .cancel = cancel};
    const bool finished = model_->forward(lane_.queue, step, lane_.workspace);
    const auto v = static_cast<std::size_t>(model_->config().vocab);
    const std::size_t wanted = finished ? entries.size() : 0;
    TMODEL_CHECK(lane_.queue.download(lane_.workspace.logits.first(static_cast<int>(wanted)), {logits(), wanted * v}));
    if (!finished) return fail(Errc::cancelled);
    for (std::size_t i = 0; i < entries.size(); ++i) {
      Session<B>& s = *entries[i].session;
      std::copy(entries[i].tokens.begin(), entries[i].tokens.end(), s.history() + s.length_);
      s.length_ += static_cast<pos_t>(entries[i].tokens.size());
      std::copy_n(logits() + i * v, v, s.logits_row(0).data());
      s.has_logits_ = true;
    }
    return {};
  }

 private:
  static QueueLimits limits(const ModelConfig& c, const BatchOptions& o) {
    return Lane<B>::limits(c, o.rows, o.sequences, o.context == 0 ? default_context : o.context);
  }
  static std::size_t host_bytes(const ModelConfig& c, const BatchOptions& o) noexcept {
    const auto n = static_cast<std::size_t>(o.rows), s = static_cast<std::size_t>(o.sequences);
    return round_up(n * sizeof(token_t), cache_line) + round_up(s * sizeof(int), cache_line) + s * static_cast<std::size_t>(c.vocab) * sizeof(f32);
  }
  token_t* tokens() const noexcept { return reinterpret_cast<token_t*>(host_.data()); }
  int* logit_rows() const noexcept {
    return reinterpret_cast<int*>(host_.data() + round_up(static_cast<std::size_t>(options_.rows) * sizeof(token_t), cache_line));
  }
  f32* logits() const noexcept {
    return reinterpret_cast<f32*>(reinterpret_cast<std::byte*>(logit_rows()) + round_up(static_cast<std::size_t>(options_.sequences) * sizeof(int), cache_line));
  }

  expected<void> admit(std::span<const Entry> before, const Entry& e, int rows) const {
    const auto bad = [](const char* what) { return fail(Errc::bad_argument, what, "batch"); };
    if (e.session == nullptr || e.session->model_ != model_) return bad("session of another model");
    for (const Entry& other : before)
      if (other.session == e.session) return bad("session stands twice in a step");
    if (e.tokens.empty() || e.tokens.size() > static_cast<std::size_t>(options_.rows - rows)) return bad("number of tokens");
    for (const token_t id : e.tokens)
      if (id < 0 || id >= model_->config().vocab) return bad("token id outside the vocabulary");
    if (e.session->capacity() > (options_.context == 0 ? default_context : options_.context)) return bad("session with a longer context than the batch");
    if (static_cast<int>(e.tokens.size()) > e.session->options().chunk)
      return bad("more tokens than the session's chunk");
    if (static_cast<int>(e.tokens.size()) > e.session->capacity() - e.session->length_)
      return fail(Errc::context_full, "no room in the context", "batch");
    return {};
  }

  const Model<B>* model_ = nullptr;
  BatchOptions options_;
  Lane<B> lane_;
  Buffer host_;
  std::vector<StepSequence<typename B::Kv>> sequences_;
};

}  // namespace tmodel::inline v0
