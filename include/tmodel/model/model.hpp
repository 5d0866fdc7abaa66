#pragma once
// Model<B>: configuration and weights on one backend, immutable and shared between threads. Knows no family: what it
// needs of one comes as data, so that loading code exists once per backend.

#include <memory>

#include "tmodel/model/family.hpp"
#include "tmodel/model/forward.hpp"

namespace tmodel::inline v0 {

/// A family with its forward passes for one backend: forward[i] belongs to specs[i].
template <class B>
struct FamilyFacts : FamilyData {
  using Forward = bool (*)(typename B::Queue&, const ModelConfig&, const Weights<B>&, const Step<typename B::Kv>&,
                           const Workspace<B>&);
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
constexpr FamilyFacts<B> family_facts() noexcept {
  return {family_data<F>(), detail::ForwardTable<F, B>::value};
}

template <class B>
class Model {
 public:
  using Facts = FamilyFacts<B>;

  /// Bytes that load() will take, without reading weights. Sets config.acts, which a session's plan depends on.
  static expected<MemoryUse> plan(const Facts& facts, const TensorSource& source, ModelConfig& config,
                                  MissingFormat missing) {
    auto arena = B::Arena::counting();
    Loader<B> loader(source, config, facts.specs[static_cast<std::size_t>(config.variant)], facts.tensor_names, missing,
                     arena);
    TMODEL_TRY(const Weights<B> weights, loader.load());
    config.acts = weights.acts();
    return arena.use();
  }

  /// Takes the source: weights that stay in place point into its mappings.
  static expected<std::unique_ptr<Model>> load(B backend, const Facts& facts, TensorSource source, ModelConfig config, MissingFormat missing) {
    TMODEL_TRY(const MemoryUse counted, plan(facts, source, config, missing));
    TMODEL_TRY(auto arena, B::Arena::allocating(backend, counted));
    std::unique_ptr<Model> model(new (std::nothrow) Model(std::move(backend), facts, std::move(source), std::move(config), std::move(arena)));
    if (model == nullptr) return out_of_memory();
    Loader<B> loader(model->source_, model->config_, model->spec(), facts.tensor_names, missing, model->arena_);
    TMODEL_TRY(model->weights_, loader.load());
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
