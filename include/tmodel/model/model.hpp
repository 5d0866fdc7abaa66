#pragma once
// Model<B>: configuration and weights on one backend, immutable and shared between threads. Knows no family: what it
// needs of one comes as data, so that loading code exists once per backend.

#include <memory>

#include "tmodel/model/forward.hpp"
#include "tmodel/model/loader.hpp"

namespace tmodel::inline v0 {

/// A family as data, with its forward passes for one backend: forward[i] belongs to specs[i].
template <class B>
struct FamilyFacts {
  using Forward = bool (*)(typename B::Queue&, const ModelConfig&, const Weights<B>&, const Step<typename B::Kv>&, const Workspace<B>&);
  std::string_view name;
  std::span<const std::string_view> model_types, gguf_architectures;
  std::span<const DecoderSpec> specs;
  expected<ModelConfig> (*parse)(const Metadata&);
  LayerPlan (*plan)(const ModelConfig&, int);
  std::span<const Forward> forward;
};

namespace detail {
template <class F, class B, class = std::make_index_sequence<F::specs.size()>>
struct ForwardTable;
template <class F, class B, std::size_t... I>
struct ForwardTable<F, B, std::index_sequence<I...>> {
  static constexpr std::array<typename FamilyFacts<B>::Forward, sizeof...(I)> value{&forward<F::specs[I], B>...};
};
}  // namespace detail

template <class F, class B>
FamilyFacts<B> family_facts() noexcept {
  return {F::name, F::model_types, F::gguf_architectures, F::specs, &F::parse, &F::plan, detail::ForwardTable<F, B>::value};
}

/// Largest head that the backends' per-head scratch holds.
inline constexpr int max_head_dim = 1024;

/// Architecture that a file names: general.architecture, or config.json's model_type.
inline std::string_view architecture_of(const Metadata& m) {
  return m.string(m.dialect == Dialect::gguf ? "general.architecture" : "model_type").value_or("");
}

template <class B>
class Model {
 public:
  using Facts = FamilyFacts<B>;

  /// Reads and checks the configuration. Errors: wrong_family, bad_metadata, bad_tensor, unsupported.
  static expected<ModelConfig> read_config(const Facts& facts, const TensorSource& source) {
    const Metadata& m = source.metadata;
    const std::string_view found = architecture_of(m);
    const auto names = m.dialect == Dialect::gguf ? facts.gguf_architectures : facts.model_types;
    if (std::find(names.begin(), names.end(), found) == names.end())
      return fail(Errc::wrong_family, "model family", m.where, facts.name,
                  found.empty() ? "no architecture named" : std::string(found), "open it with the type of its family");
    TMODEL_TRY(ModelConfig c, facts.parse(m));
    TMODEL_CHECK(complete_rope(source, c));
    if (c.head_dim > max_head_dim)
      return fail(Errc::unsupported, "head dimension", m.where, "at most " + std::to_string(max_head_dim), std::to_string(c.head_dim));
    if (std::int64_t{c.heads} * c.head_dim > (1 << 24) || std::int64_t{c.layers} > 4096)
      return fail(Errc::bad_metadata, "sizes of the model", m.where, {}, "too large to be meant");
    if (c.variant < 0 || static_cast<std::size_t>(c.variant) >= facts.specs.size())
      return fail(Errc::unsupported, "variant of the family", m.where);
    if (const char* what = excluded_by(facts.specs[static_cast<std::size_t>(c.variant)], c))
      return fail(Errc::unsupported, what, m.where, "none in family " + std::string(facts.name));
    for (const RopeParams& rope : c.rope) TMODEL_CHECK(rope_frequencies(rope, c.rotary_dim, c.max_positions));
    return c;
  }

  /// Bytes that load() will take, without reading weights.
  static expected<MemoryUse> plan(const Facts& facts, const TensorSource& source, const ModelConfig& config, MissingFormat missing) {
    auto arena = B::Arena::counting();
    Loader<B> loader(source, config, facts.specs[static_cast<std::size_t>(config.variant)], missing, arena);
    TMODEL_CHECK(loader.load(facts.plan));
    return arena.use();
  }

  /// Takes the source: weights that stay in place point into its mappings.
  static expected<std::unique_ptr<Model>> load(B backend, const Facts& facts, TensorSource source, ModelConfig config, MissingFormat missing) {
    TMODEL_TRY(const MemoryUse counted, plan(facts, source, config, missing));
    TMODEL_TRY(auto arena, B::Arena::allocating(backend, counted));
    std::unique_ptr<Model> model(new (std::nothrow) Model(std::move(backend), facts, std::move(source), std::move(config), std::move(arena)));
    if (model == nullptr) return out_of_memory();
    Loader<B> loader(model->source_, model->config_, model->spec(), missing, model->arena_);
    TMODEL_TRY(model->weights_, loader.load(facts.plan));
    TMODEL_CHECK(model->arena_.finish());
    model->source_.release_text();
    return model;
  }

  const B& backend() const noexcept { return backend_; }
  const ModelConfig& config() const noexcept { return config_; }
  const Metadata& metadata() const noexcept { return source_.metadata; }
  const TensorSource& source() const noexcept { return source_; }
  const DecoderSpec& spec() const noexcept { return facts_.specs[static_cast<std::size_t>(config_.variant)]; }
  const MemoryUse& use() const noexcept { return arena_.use(); }

  /// One step; false: cancelled or failed, see Queue::download().
  bool forward(typename B::Queue& queue, const Step<typename B::Kv>& step, const Workspace<B>& ws) const {
    return facts_.forward[static_cast<std::size_t>(config_.variant)](queue, config_, weights_, step, ws);
  }

 private:
  Model(B backend, const Facts& facts, TensorSource source, ModelConfig config, typename B::Arena arena)
      : backend_(std::move(backend)), facts_(facts), source_(std::move(source)), config_(std::move(config)), arena_(std::move(arena)) {}

  B backend_;
  Facts facts_;
  TensorSource source_;
  ModelConfig config_;
  typename B::Arena arena_;
  Weights<B> weights_;
};

}  // namespace tmodel::inline v0
