// The verb certify: what a model computes on a backend against a reference dump, intermediate by intermediate.

#include <fstream>
#include <nlohmann/json.hpp>

#include "inspect/certificate.hpp"
#include "inspect/verbs.hpp"

namespace inspect {

using namespace tmodel;
using program::report;

namespace {

/// The bound of the model's coarsest matrix.
const Bound& bound_of(const TensorSource& source, const ReferenceDump& dump) {
  const auto among = [](std::string_view list, const std::string& word) {
    return list.find(" " + word + " ") != list.npos;
  };
  const Bound* coarsest = bounds.data();
  for (const TensorInfo& t : source.tensors) {
    if (t.rank < 2) continue;
    const auto bound = std::find_if(bounds.begin(), bounds.end(), [&](const Bound& b) {
      return among(b.formats, stored_format_name(t.format)) && (b.dtypes.empty() || among(b.dtypes, dump.dtype));
    });
    if (bound != bounds.end()) coarsest = std::max(coarsest, &*bound);
  }
  return *coarsest;
}

/// Puts interleaved pairs of each head into halves: the rotation does it, and in layers that do not rotate nothing
/// does.
void to_halves(const ModelConfig& c, std::span<f32> rows) {
  const auto half = static_cast<std::size_t>(c.rotary_dim / 2), head = static_cast<std::size_t>(c.head_dim);
  std::vector<f32> pairs(2 * half);
  for (; rows.size() >= head; rows = rows.subspan(head)) {
    std::copy_n(rows.begin(), pairs.size(), pairs.begin());
    for (std::size_t i = 0; i < half; ++i) rows[i] = pairs[2 * i], rows[half + i] = pairs[2 * i + 1];
  }
}

/// Told of every intermediate; keeps the first error.
template <class B>
struct Listener {
  const ModelConfig* config;
  Certificate* certificate;
  std::vector<f32> rows;
  expected<void> result;

  void operator()(typename B::Queue& queue, Tap tap, int layer, typename B::Rows x) {
    if (!result) return;
    rows.resize(static_cast<std::size_t>(x.n) * static_cast<std::size_t>(x.columns));
    result = queue.download(x, rows);
    const bool stored_pairs = (tap == Tap::q || tap == Tap::k) && config->rope_pairing == RopePairing::interleaved &&
                              config->plans[static_cast<std::size_t>(layer)].rope_table < 0;
    if (result && stored_pairs) to_halves(*config, rows);
    if (result) result = certificate->add(tap, layer, x.n, x.columns, rows);
  }
};

token_t best_of(std::span<const f32> logits) {
  return static_cast<token_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

/// One chunk of all ids, then the reference's greedy tokens one by one.
template <class B>
expected<void> compute(Session<B>& session, Certificate& certificate) {
  const ReferenceDump& dump = certificate.dump();
  Listener<B> listener{&session.model().config(), &certificate, {}, {}};
  session.observe(listener);
  const auto all_logits = [](pos_t, std::span<const f32>) {};
  TMODEL_CHECK(session.append(dump.ids, {.each = all_logits}));
  session.observe({});
  TMODEL_CHECK(std::move(listener.result));
  TMODEL_CHECK(certificate.check_complete());
  for (std::size_t i = 0; i < dump.greedy.size(); ++i) {
    certificate.add_greedy(static_cast<int>(i), best_of(session.logits()));
    TMODEL_CHECK(session.append({&dump.greedy[i], 1}));
  }
  return {};
}

std::string_view trimmed(std::string_view blanks_around) { return blanks_around.substr(1, blanks_around.size() - 2); }

void print_line(const Certificate& c, const Difference& d, const std::string& layer) {
  std::printf("%-15s%7s%11.1e%10.1e%10d%9d%s\n", tap_names[static_cast<std::size_t>(d.tap)].data(), layer.c_str(),
              d.worst, d.mean, c.dump().start_position + d.row, d.column, d.good() ? "" : "  beyond the bound");
}
std::string layer_text(const Difference& d) { return d.layer < 0 ? "-" : std::to_string(d.layer); }

/// A line for each intermediate, or only for the layer in which it is worst.
void print_table(const Certificate& c, bool all) {
  std::printf("%-15s%7s%11s%10s%10s%9s\n", "intermediate", "layer", "largest", "mean", "position", "element");
  if (all) {
    for (const Difference& d : c.differences()) print_line(c, d, layer_text(d));
    return;
  }
  for (std::size_t tap = 0; tap < tap_names.size(); ++tap) {
    const Difference* worst = nullptr;
    for (const Difference& d : c.differences())
      if (d.tap == static_cast<Tap>(tap) && (worst == nullptr || d.worst > worst->worst)) worst = &d;
    if (worst != nullptr) print_line(c, *worst, layer_text(*worst));
  }
}

void print(const Certificate& c, bool all) {
  const ReferenceDump& dump = c.dump();
  std::printf("reference: transformers %s, %s, weights %s, %zu ids from position %d\n",
              printable(dump.transformers).c_str(), printable(dump.model_type).c_str(), printable(dump.dtype).c_str(),
              dump.ids.size(), dump.start_position);
  std::printf("bound %.0e of an intermediate's largest magnitude: %s\n\n", c.limit(Tap::logits),
              std::string(c.bound().why).c_str());
  print_table(c, all);
  const LogitsAgreement& logits = c.agreement();
  std::printf("\nlogits: mean KL %.1e nats, best token equal after %d of %zu ids\n", logits.kl, logits.best_equal,
              dump.ids.size());
  if (logits.model != logits.reference)
    std::printf("vocabulary: %d rows here, %d in the reference; %d compared\n", logits.model, logits.reference,
                logits.compared);
  const GreedyAgreement& greedy = c.greedy();
  if (!dump.greedy.empty())
    std::printf("greedy: %d of %zu tokens equal, %d others where the reference's choice is within the bound\n",
                greedy.equal, dump.greedy.size(), greedy.close);
  if (c.certified()) return static_cast<void>(std::puts("certified"));
  if (const Difference* f = c.first()) {
    std::printf("differs: first at %s, from position %d on\n", Certificate::name_of(f->tap, f->layer).c_str(),
                dump.start_position + f->first_row);
    std::printf("look at: %s\n", std::string(c.hint()).c_str());
  } else {
    std::printf("differs: greedy token %d, where the reference's choice is clear\n", greedy.first_different);
  }
}

nlohmann::ordered_json as_json(const Certificate& c, const Difference& d) {
  nlohmann::ordered_json j;
  j["name"] = Certificate::name_of(d.tap, d.layer);
  j["within"] = d.good();
  j["bound"] = d.limit;
  j["largest"] = d.worst, j["mean"] = d.mean, j["reference_magnitude"] = d.largest;
  j["position"] = c.dump().start_position + d.row, j["element"] = d.column, j["got"] = d.got, j["expected"] = d.want;
  if (!d.good()) j["first_position_beyond"] = c.dump().start_position + d.first_row;
  return j;
}

nlohmann::ordered_json as_json(const Certificate& c, const std::string& model, std::string_view backend) {
  const ReferenceDump& dump = c.dump();
  nlohmann::ordered_json j;
  j["certified"] = c.certified();
  j["model"] = model, j["backend"] = backend;
  j["reference"] = {{"dump", dump.path},
                    {"model_type", dump.model_type},
                    {"transformers", dump.transformers},
                    {"weights", dump.dtype},
                    {"angles", dump.angles},
                    {"rope_length", dump.rope_length},
                    {"start_position", dump.start_position},
                    {"ids", dump.ids}};
  j["measure"] = "largest difference / largest magnitude of the reference's same intermediate";
  j["bound"] = {{"formats", trimmed(c.bound().formats)}, {"why", c.bound().why}};
  if (const Difference* f = c.first()) {
    j["first"] = as_json(c, *f);
    j["first"]["look_at"] = c.hint();
  }
  for (const Difference& d : c.differences()) j["intermediates"].push_back(as_json(c, d));
  const LogitsAgreement& logits = c.agreement();
  j["logits"] = {{"mean_kl", logits.kl},
                 {"best_equal", logits.best_equal},
                 {"vocabulary", logits.model},
                 {"reference_vocabulary", logits.reference},
                 {"compared", logits.compared}};
  j["greedy"] = {{"tokens", dump.greedy.size()}, {"equal", c.greedy().equal}, {"close", c.greedy().close}};
  if (c.greedy().first_different >= 0) j["greedy"]["first_different"] = c.greedy().first_different;
  return j;
}

}  // namespace

int certify(const std::string& model, const program::DeviceChoice& device, const CertifyOptions& o) {
  const auto dump = ReferenceDump::open(o.reference);
  if (!dump) return report(dump.error());
  return program::with_backend(device, [&]<class B>(const typename B::Options& backend) -> int {
    const int ids = static_cast<int>(dump->ids.size());
    const SessionOptions session_options{.context = ids + static_cast<int>(dump->greedy.size()),
                                         .kv = KvType::f32,
                                         .chunk = ids,
                                         .all_logits = true,
                                         .rope_length = dump->rope_length,
                                         .start_position = dump->start_position};
    auto loaded = AnyTransformer<B, program::Families>::load(
        model, {.session = session_options, .missing_format = device.missing_format(), .text = TextUse::none}, backend);
    if (!loaded) return report(loaded.error());
    auto session = loaded->session();
    if (!session) return report(session.error());
    Certificate certificate(*dump, bound_of(loaded->model().source(), *dump), B::name == "reference");
    if (auto r = compute<B>(*session, certificate); !r) return report(r.error());
    print(certificate, o.all);
    if (!o.json.empty()) {
      std::ofstream out(o.json, std::ios::trunc);
      out << as_json(certificate, model, B::name).dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace)
          << '\n';
      out.close();
      if (!out) return report(Error{Errc::io, "cannot write the file", o.json, {}, {}, {}});
    }
    return certificate.certified() ? program::ok : program::differs;
  });
}

}  // namespace inspect
