#pragma once
// The certificate: how far each intermediate of a model is from a reference dump, and what follows from that.

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "inspect/certificate_facts.hpp"
#include "inspect/reference_dump.hpp"

namespace inspect {

/// One intermediate. Differences are relative to the largest magnitude that the reference has in all of it: what
/// rounding does to an element is as large as the terms of its sum, which small elements do not show.
struct Difference {
  tmodel::Tap tap = {};
  int layer = -1;
  int columns = 0;
  double largest = 0;  ///< magnitude of the reference
  double limit = 0;    ///< of what follows
  double worst = 0;    ///< infinite where something is no number
  double mean = 0;
  int row = 0, column = 0;  ///< of the worst element
  float got = 0, want = 0;
  int first_row = -1;  ///< that is beyond the bound; -1: none
  bool good() const noexcept { return first_row < 0; }
};

/// Probabilities of the next token against the reference's.
struct LogitsAgreement {
  double kl = 0;                               ///< mean over ids, of the reference from the model, in nats
  int best_equal = 0;                          ///< ids whose likeliest token is the same
  int compared = 0, model = 0, reference = 0;  ///< sizes of the vocabulary
};

struct GreedyAgreement {
  int equal = 0;
  int close = 0;             ///< other tokens where the reference's two best logits are within twice the bound
  int first_different = -1;  ///< of the others
};

class Certificate {
 public:
  Certificate(const ReferenceDump& dump, const Bound& bound, bool reference_backend)
      : dump_(&dump), bound_(bound), limit_(reference_backend ? bound.reference : bound.device) {}

  static std::string name_of(tmodel::Tap tap, int layer) {
    const auto name = std::string(tmodel::tap_names[static_cast<std::size_t>(tap)]);
    return layer < 0 ? name : std::to_string(layer) + "." + name;
  }

  /// Compares an intermediate of n rows. Errors: bad_file (the dump has none like it).
  tmodel::expected<void> add(tmodel::Tap tap, int layer, int n, int columns, std::span<const tmodel::f32> got) {
    TMODEL_TRY(const DumpedRows want, dump_->rows(name_of(tap, layer)));
    if (want.n != n || (want.columns != columns && tap != tmodel::Tap::logits))
      return tmodel::fail(tmodel::Errc::bad_file, "the dump is of another model",
                          dump_->path + ": " + name_of(tap, layer),
                          "[" + std::to_string(n) + ", " + std::to_string(columns) + "]",
                          "[" + std::to_string(want.n) + ", " + std::to_string(want.columns) + "]");
    differences_.push_back(
        compare({.tap = tap, .layer = layer, .columns = std::min(columns, want.columns), .limit = limit(tap)}, got,
                columns, want));
    if (tap == tmodel::Tap::logits) agreement_ = agree(got, columns, want);
    return {};
  }

  /// Compares the model's choice after the ids and `step` greedy tokens of the reference.
  void add_greedy(int step, tmodel::token_t best) {
    const auto i = static_cast<std::size_t>(step);
    if (best == dump_->greedy[i])
      ++greedy_.equal;
    else if (dump_->greedy_gaps[i] <= 2 * limit(tmodel::Tap::logits))
      ++greedy_.close;
    else if (greedy_.first_different < 0)
      greedy_.first_different = step;
  }

  /// Errors: bad_file (the dump has intermediates that the model has not).
  tmodel::expected<void> check_complete() const {
    for (const std::string_view name : dump_->intermediates())
      if (std::none_of(differences_.begin(), differences_.end(),
                       [&](const Difference& d) { return name_of(d.tap, d.layer) == name; }))
        return tmodel::fail(tmodel::Errc::bad_file,
                            "the dump is of another model: it has an intermediate that the model lacks",
                            dump_->path + ": " + std::string(name));
    return {};
  }

  const ReferenceDump& dump() const noexcept { return *dump_; }
  const Bound& bound() const noexcept { return bound_; }
  double limit(tmodel::Tap tap) const noexcept {
    return tap == tmodel::Tap::heads || tap == tmodel::Tap::attention ? limit_ * bound_.attention : limit_;
  }
  const std::vector<Difference>& differences() const noexcept {
    return differences_;
  }  ///< in the order of the forward pass
  const LogitsAgreement& agreement() const noexcept { return agreement_; }
  const GreedyAgreement& greedy() const noexcept { return greedy_; }

  /// The first intermediate beyond the bound, nullptr if there is none.
  const Difference* first() const noexcept {
    const auto it =
        std::find_if(differences_.begin(), differences_.end(), [](const Difference& d) { return !d.good(); });
    return it == differences_.end() ? nullptr : &*it;
  }
  bool certified() const noexcept { return first() == nullptr && greedy_.first_different < 0; }

  /// What to look at; empty if there is no first difference.
  std::string_view hint() const noexcept {
    const Difference* f = first();
    if (f == nullptr) return {};
    unsigned beyond = 0;
    for (const Difference& d : differences_)
      if (d.layer == f->layer && !d.good()) beyond |= bit(d.tap);
    for (const Hint& h : hints)
      if (h.first == f->tap && (beyond & h.with) == h.with && f->first_row >= h.from && f->first_row <= h.to)
        return h.text;
    return {};
  }

 private:
  Difference compare(Difference d, std::span<const tmodel::f32> got, int got_columns, const DumpedRows& want) const {
    for (int r = 0; r < want.n; ++r)
      for (int c = 0; c < d.columns; ++c) d.largest = std::max(d.largest, std::fabs(double{want.at(r, c)}));
    double sum = 0;
    for (int r = 0; r < want.n; ++r)
      for (int c = 0; c < d.columns; ++c) {
        const float x =
            got[static_cast<std::size_t>(r) * static_cast<std::size_t>(got_columns) + static_cast<std::size_t>(c)];
        const double apart = std::fabs(double{x} - double{want.at(r, c)});
        const double relative = apart == 0 ? 0 : std::isfinite(apart) && d.largest > 0 ? apart / d.largest : HUGE_VAL;
        sum += relative;
        if (relative > d.limit && d.first_row < 0) d.first_row = r;
        if (relative > d.worst) d.worst = relative, d.row = r, d.column = c, d.got = x, d.want = want.at(r, c);
      }
    d.mean = sum / (static_cast<double>(want.n) * d.columns);
    return d;
  }

  /// Over the part of the vocabulary that both have: a converter may leave out rows that only fill up the embedding.
  static LogitsAgreement agree(std::span<const tmodel::f32> got, int got_columns, const DumpedRows& want) {
    LogitsAgreement a{.compared = std::min(got_columns, want.columns), .model = got_columns, .reference = want.columns};
    std::vector<double> p(static_cast<std::size_t>(a.compared)), q(p.size());
    for (int r = 0; r < want.n; ++r) {
      for (std::size_t c = 0; c < p.size(); ++c) {
        p[c] = double{want.at(r, static_cast<int>(c))};
        q[c] = double{got[static_cast<std::size_t>(r) * static_cast<std::size_t>(got_columns) + c]};
      }
      a.best_equal +=
          std::max_element(p.begin(), p.end()) - p.begin() == std::max_element(q.begin(), q.end()) - q.begin();
      log_softmax(p), log_softmax(q);
      for (std::size_t c = 0; c < p.size(); ++c) a.kl += std::exp(p[c]) * (p[c] - q[c]) / want.n;
    }
    return a;
  }
  static void log_softmax(std::vector<double>& x) {
    const double largest = *std::max_element(x.begin(), x.end());
    double sum = 0;
    for (const double v : x) sum += std::exp(v - largest);
    for (double& v : x) v -= largest + std::log(sum);
  }

  const ReferenceDump* dump_;
  Bound bound_;
  double limit_;
  std::vector<Difference> differences_;
  LogitsAgreement agreement_;
  GreedyAgreement greedy_;
};

}  // namespace inspect
