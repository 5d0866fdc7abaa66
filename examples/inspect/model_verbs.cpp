// Verbs of inspect that read weights: tensors, info, plan, logits, perplexity.

#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "inspect/verbs.hpp"

namespace inspect {

using namespace tmodel;
using program::report;
using program::report_usage;

namespace {

std::string shape_of(const TensorInfo& t) {
  std::string text = "[";
  for (int i = 0; i < t.rank; ++i) text += (i ? ", " : "") + std::to_string(t.shape[static_cast<std::size_t>(i)]);
  return text + "]";
}

constexpr Purpose purposes[] = {Purpose::weights_mapped, Purpose::weights_copied, Purpose::kv_cache, Purpose::workspace, Purpose::tokenizer};
constexpr const char* purpose_names[] = {"weights_mapped", "weights_copied", "kv_cache", "workspace", "tokenizer"};

template <class B>
using Loaded = AnyTransformer<B, program::Families>;

/// The context options of a verb that computes exact figures: an f32 cache unless another is asked for.
SessionOptions exact(const program::ContextChoice& choice, int positions) {
  SessionOptions o = program::session_options(choice);
  if (!o.kv) o.kv = KvType::f32;
  if (o.context == 0) o.context = positions;
  o.all_logits = true;
  return o;
}

/// -log p of a token under logits, in f64.
double surprise(std::span<const f32> logits, token_t id) {
  double largest = -HUGE_VAL, sum = 0;
  for (const f32 x : logits) largest = std::max(largest, static_cast<double>(x));
  for (const f32 x : logits) sum += std::exp(static_cast<double>(x) - largest);
  return std::log(sum) + largest - static_cast<double>(logits[static_cast<std::size_t>(id)]);
}

}  // namespace

int tensors(const std::string& path) {
  auto file = os::MappedFile::open(path);
  if (!file) return report(file.error());
  TensorSource source;
  const bool safetensors = path.ends_with(".safetensors");
  const auto read = safetensors ? read_safetensors(file->bytes(), path, source) : read_gguf(file->bytes(), path, source);
  if (!read) return report(read.error());
  std::vector<const TensorInfo*> order;
  for (const TensorInfo& t : source.tensors) order.push_back(&t);
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) { return a->offset < b->offset; });
  for (const TensorInfo* t : order)
    std::printf("%s %s %s %llu\n", printable(t->name, 1000).c_str(), std::string(stored_format_name(t->format)).c_str(), shape_of(*t).c_str(),
                static_cast<unsigned long long>(t->offset));
  return program::ok;
}

int info(const std::string& model, bool json) {
  auto files = open_model(model);
  if (!files) return report(files.error());
  const TensorSource& source = files->source;
  constexpr auto& families = detail::data_of<program::Families>;
  const auto found = find_family(families, source);
  if (!found) return report(found.error());
  const FamilyData& family = families[*found];
  const auto config = read_model_config(family, source);
  if (!config) return report(config.error());
  const ModelConfig& c = *config;

  struct Format {
    int tensors = 0;
    std::size_t bytes = 0;
  };
  std::map<std::string, Format> formats;
  std::size_t parameters = 0, bytes = 0;
  for (const TensorInfo& t : source.tensors) {
    Format& f = formats[std::string(stored_format_name(t.format))];
    ++f.tensors;
    f.bytes += t.data.size();
    bytes += t.data.size();
    std::size_t n = 1;
    for (int i = 0; i < t.rank; ++i) n *= static_cast<std::size_t>(t.shape[static_cast<std::size_t>(i)]);
    parameters += n;
  }
  std::string tokenizer = "none";
  bool has_template = false;
  std::vector<token_t> ends = c.end_tokens;
  if (Language::is_in(*files)) {
    auto language = Language::read(*files);
    if (language) {
      language->add_end_tokens(c.end_tokens);
      ends.assign(language->end_tokens().begin(), language->end_tokens().end());
      tokenizer = std::string(language->tokenizer().kind()) + ", " + std::to_string(language->tokenizer().vocab_size()) + " tokens";
      has_template = language->chat_template() != nullptr;
    } else {
      tokenizer = language.error().message();
    }
  }

  nlohmann::ordered_json j;
  j["family"] = family.name;
  j["file"] = source.metadata.dialect == Dialect::gguf ? "GGUF" : "safetensors";
  if (source.metadata.dialect == Dialect::gguf && !family.gguf_lacks.empty()) j["not_in_gguf"] = family.gguf_lacks;
  j["parameters"] = parameters;
  j["bytes"] = bytes;
  j["layers"] = c.layers, j["dim"] = c.dim, j["heads"] = c.heads, j["kv_heads"] = c.kv_heads, j["head_dim"] = c.head_dim;
  j["ffn_dim"] = c.ffn_dim, j["vocab"] = c.vocab, j["max_positions"] = c.max_positions, j["window"] = c.window;
  if (c.experts > 0) j["experts"] = c.experts, j["experts_used"] = c.experts_used;
  for (const auto& [name, f] : formats) j["formats"][name] = {{"tensors", f.tensors}, {"bytes", f.bytes}};
  j["tokenizer"] = tokenizer;
  j["chat_template"] = has_template;
  j["end_tokens"] = ends;
  if (json) {
    std::printf("%s\n", j.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
    return program::ok;
  }
  for (const auto& [key, value] : j.items()) {
    if (key == "formats")
      for (const auto& [name, f] : value.items())
        std::printf("format %-8s %5d tensors  %s\n", name.c_str(), f["tensors"].get<int>(), program::readable_bytes(f["bytes"].get<std::size_t>()).c_str());
    else if (key == "bytes") std::printf("%-15s %s\n", "bytes", program::readable_bytes(bytes).c_str());
    else std::printf("%-15s %s\n", key.c_str(), value.is_string() ? value.get<std::string>().c_str() : value.dump().c_str());
  }
  return program::ok;
}

int plan(const std::string& model, const program::DeviceChoice& device, const program::ContextChoice& context, int batch, bool json) {
  return program::with_backend(device, [&]<class B>(const typename B::Options&) {
    LoadOptions options{.session = program::session_options(context), .missing_format = device.missing_format()};
    if (batch > 0) {
      options.sessions = batch;
      options.batch = BatchOptions{.sequences = batch, .rows = std::max(64, batch)};
    }
    auto use = Loaded<B>::plan(model, options);
    if (!use) return report(use.error());
    nlohmann::ordered_json j;
    for (std::size_t i = 0; i < purpose_count; ++i) {
      j[purpose_names[i]] = (*use)[purposes[i]];
      if (!json) std::printf("%-15s %12zu  %s\n", purpose_names[i], (*use)[purposes[i]], program::readable_bytes((*use)[purposes[i]]).c_str());
    }
    j["total"] = use->total();
    if (json) std::printf("%s\n", j.dump(2).c_str());
    else std::printf("%-15s %12zu  %s\n", "total", use->total(), program::readable_bytes(use->total()).c_str());
    return static_cast<int>(program::ok);
  });
}

int logits(const std::string& model, const program::DeviceChoice& device, const program::ContextChoice& context, const LogitsOptions& o) {
  const auto ids = parse_ids(o.ids);
  if (!ids) return report(ids.error());
  if (ids->empty()) return report_usage("--ids names no token");
  return program::with_backend(device, [&]<class B>(const typename B::Options& backend) -> int {
    SessionOptions session_options = exact(context, static_cast<int>(ids->size()));
    session_options.rope_length = o.rope_length > 0 ? o.rope_length : o.start_position + static_cast<int>(ids->size());
    session_options.start_position = o.start_position;
    auto loaded = Loaded<B>::load(model, {.session = session_options, .missing_format = device.missing_format(), .text = TextUse::none}, backend);
    if (!loaded) return report(loaded.error());
    auto session = loaded->session();
    if (!session) return report(session.error());
    std::ofstream out(o.out, std::ios::binary | std::ios::trunc);
    const auto each = [&](pos_t, std::span<const f32> row) {
      out.write(reinterpret_cast<const char*>(row.data()), static_cast<std::streamsize>(row.size_bytes()));
    };
    if (auto r = session->append(*ids, {.each = each}); !r) return report(r.error());
    out.close();
    if (!out) return report(Error{Errc::io, "cannot write the file", o.out, {}, {}, {}});
    return program::ok;
  });
}

int perplexity(const std::string& model, const program::DeviceChoice& device, const program::ContextChoice& context, const PerplexityOptions& o) {
  const auto text = read_all(o.file);
  if (!text) return report(text.error());
  return program::with_backend(device, [&]<class B>(const typename B::Options& backend) -> int {
    auto loaded = Loaded<B>::load(model, {.session = exact(context, 512), .missing_format = device.missing_format(), .text = TextUse::required}, backend);
    if (!loaded) return report(loaded.error());
    const Tokenizer& tokenizer = loaded->language()->tokenizer();
    auto ids = tokenizer.encode(*text, {.add_special = false, .parse_special = false});
    if (!ids) return report(ids.error());
    auto session = loaded->session();
    if (!session) return report(session.error());

    const std::size_t length = static_cast<std::size_t>(session->capacity());
    const bool bos = tokenizer.adds_bos() && tokenizer.bos() >= 0;
    const std::size_t body = bos ? length - 1 : length;
    double sum = 0;
    std::size_t scored = 0;
    int chunks = 0;
    for (std::size_t at = 0; at < ids->size() && (o.chunks == 0 || chunks < o.chunks); at += body, ++chunks) {
      std::vector<token_t> chunk;
      if (bos) chunk.push_back(tokenizer.bos());
      for (std::size_t i = at; i < std::min(at + body, ids->size()); ++i) chunk.push_back((*ids)[i]);
      if (chunk.size() < 2) break;
      if (auto r = session->rewind(0); !r) return report(r.error());
      const auto each = [&](pos_t position, std::span<const f32> row) {
        if (static_cast<std::size_t>(position) + 1 >= chunk.size()) return;
        sum += surprise(row, chunk[static_cast<std::size_t>(position) + 1]);
        ++scored;
      };
      if (auto r = session->append(chunk, {.each = each}); !r) return report(r.error());
      std::fprintf(stderr, "chunk %d: perplexity %.4f\n", chunks + 1, std::exp(sum / static_cast<double>(scored)));
    }
    if (scored == 0) return report_usage("the text has too few tokens");
    nlohmann::ordered_json j;
    j["perplexity"] = std::exp(sum / static_cast<double>(scored));
    j["mean_nll"] = sum / static_cast<double>(scored);
    j["tokens_scored"] = scored;
    j["chunks"] = chunks;
    j["method"] = bos ? "chunks of BOS + " + std::to_string(body) + " tokens, every token after BOS scored"
                      : "chunks of " + std::to_string(body) + " tokens without BOS, every token after a chunk's first scored";
    std::printf("%s\n", j.dump(2).c_str());
    return program::ok;
  });
}

}  // namespace inspect
