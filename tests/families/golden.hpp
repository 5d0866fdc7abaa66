#pragma once
// Goldens: tiny random models that transformers computed (tools/make_goldens.py), each in one configuration branch.
// Every backend must give its logits within a bound, and the same 64 greedy tokens.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "tmodel/core/json.hpp"
#include "tmodel/families/all.hpp"
#include "tmodel/io/model_files.hpp"
#include "tmodel/model/session.hpp"

namespace golden {

using namespace tmodel;

inline std::string read_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

struct Golden {
  std::filesystem::path folder;
  std::string family, weights, note, path;
  std::vector<token_t> ids, greedy;
  std::vector<f32> logits;  ///< [n, V]
  int rope_length = 0, start_position = 0;
  bool quantised() const { return weights != "f32" && weights != "f16" && weights != "bf16"; }
};

inline std::vector<token_t> ids_of(Json list) {
  std::vector<token_t> ids;
  for (Json id = list.first(); id; id = id.next()) ids.push_back(static_cast<token_t>(id.integer().value_or(-1)));
  return ids;
}

inline std::vector<Golden> all() {
  std::vector<Golden> out;
  for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(TMODEL_GOLDENS) / "models")) {
    const std::string text = read_text(entry.path() / "expected.json");
    const auto document = JsonDocument::parse(text, entry.path().string());
    if (!document) ADD_FAILURE() << document.error().message();
    if (!document) continue;
    const Json j = document->root();
    Golden g;
    g.folder = entry.path();
    g.family = j["family"].string(), g.weights = j["weights"].string(), g.note = j["note"].string();
    g.path =
        j["file"].string() == "." ? entry.path().string() : (entry.path() / std::string(j["file"].string())).string();
    g.ids = ids_of(j["ids"]), g.greedy = ids_of(j["greedy"]);
    g.start_position = static_cast<int>(j["start_position"].integer().value_or(0));
    g.rope_length = static_cast<int>(j["rope_length"].integer().value_or(0));
    const std::string raw = read_text(entry.path() / std::string(j["logits"].string()));
    g.logits.resize(raw.size() / sizeof(f32));
    std::memcpy(g.logits.data(), raw.data(), g.logits.size() * sizeof(f32));
    out.push_back(std::move(g));
  }
  std::sort(out.begin(), out.end(), [](const Golden& a, const Golden& b) { return a.folder < b.folder; });
  return out;
}

/// Every n-th golden.
inline std::vector<Golden> every(std::size_t n) {
  std::vector<Golden> out;
  std::size_t i = 0;
  for (Golden& g : all())
    if (i++ % n == 0) out.push_back(std::move(g));
  return out;
}

/// The model of a golden.
template <class B>
expected<std::unique_ptr<Model<B>>> open(const Golden& g, const typename B::Options& options = {},
                                         MissingFormat missing = MissingFormat::refuse) {
  std::optional<FamilyFacts<B>> facts;
  AllFamilies::for_each([&]<class F>() {
    if (g.family == F::name) facts = family_facts<F, B>();
  });
  if (!facts) return fail(Errc::unsupported, "family of a golden", g.folder.string(), {}, g.family);
  TMODEL_TRY(ModelFiles files, open_model(g.path));
  TMODEL_TRY(ModelConfig config, read_model_config(*facts, files.source));
  TMODEL_TRY(B backend, B::open(options));
  return Model<B>::load(std::move(backend), *facts, std::move(files.source), std::move(config), missing);
}

/// Options of a session that computes what the golden holds, with room for its greedy tokens.
inline SessionOptions session_options(const Golden& g, int chunk) {
  return {.context = static_cast<int>(g.ids.size() + g.greedy.size()) + 1,
          .kv = KvType::f32,
          .chunk = chunk,
          .all_logits = true,
          .rope_length = g.rope_length,
          .start_position = g.start_position};
}

/// Largest difference to the golden's logits over its largest logit.
struct Result {
  f64 worst = 0;
  std::vector<token_t> greedy;
};

template <class B>
expected<Result> compute(const Golden& g, const typename B::Options& options = {},
                         MissingFormat missing = MissingFormat::refuse) {
  TMODEL_TRY(auto model, open<B>(g, options, missing));
  TMODEL_TRY(auto session, Session<B>::make(*model, session_options(g, 10)));
  Result r;
  f64 largest = 0;
  for (const f32 x : g.logits) largest = std::max(largest, std::fabs(static_cast<f64>(x)));
  std::size_t i = 0;
  const auto each = [&](pos_t, std::span<const f32> logits) {
    for (const f32 x : logits) {
      const f64 d = i < g.logits.size() ? std::fabs(static_cast<f64>(x) - static_cast<f64>(g.logits[i])) : HUGE_VAL;
      r.worst = std::max(r.worst, std::isnan(d) ? HUGE_VAL : d / largest);
      ++i;
    }
  };
  TMODEL_CHECK(session.append(g.ids, {.each = each}));
  if (i != g.logits.size()) return fail(Errc::bad_file, "golden has another number of logits", g.folder.string());
  while (r.greedy.size() < g.greedy.size()) {
    const auto logits = session.logits();
    const auto best = static_cast<token_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
    r.greedy.push_back(best);
    TMODEL_CHECK(session.append(std::span(&best, 1)));
  }
  return r;
}

/// One golden of each family and kind of file, the first by name.
inline std::vector<Golden> one_of_each() {
  std::vector<Golden> out;
  for (Golden& g : all()) {
    const auto same = [&](const Golden& other) {
      return other.family == g.family && (other.path == other.folder) == (g.path == g.folder);
    };
    if (std::none_of(out.begin(), out.end(), same)) out.push_back(std::move(g));
  }
  return out;
}

}  // namespace golden
