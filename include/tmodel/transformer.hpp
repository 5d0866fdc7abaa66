#pragma once
// Transformer<Family, Backend>: the type that programs name. Checks the combination at compile time, hands the
// family's facts to Model<Backend>, and adds the text side of the model.

#include <memory>

#include "tmodel/language.hpp"
#include "tmodel/model/batch.hpp"
#include "tmodel/model/model.hpp"
#include "tmodel/model/session.hpp"

namespace tmodel::inline v0 {

/// Where a model comes from: a path, bytes of a GGUF file that the caller keeps, files that open_model() opened, or
/// tensors of the caller's own.
class Source {
 public:
  Source(std::string_view path) : path_(path) {}                    // NOLINT(google-explicit-constructor)
  Source(const char* path) : path_(path) {}                         // NOLINT(google-explicit-constructor)
  Source(const std::string& path) : path_(path) {}                  // NOLINT(google-explicit-constructor)
  Source(std::span<const std::byte> gguf) : bytes_(gguf) {}         // NOLINT(google-explicit-constructor)
  Source(TensorSource&& tensors) : tensors_(&tensors) {}            // NOLINT(google-explicit-constructor): taken by open()
  Source(ModelFiles&& files) : files_(&files) {}                    // NOLINT(google-explicit-constructor): taken by open()

  /// Errors: io, bad_file.
  expected<ModelFiles> open() const {
    if (files_ != nullptr) return std::move(*files_);
    if (tensors_ != nullptr) {
      ModelFiles files;
      files.source = std::move(*tensors_);
      TMODEL_CHECK(files.source.sort());
      return files;
    }
    if (path_.empty() && !bytes_.empty()) return open_model(bytes_, "memory");
    return open_model(path_);
  }

 private:
  std::string_view path_;
  std::span<const std::byte> bytes_;
  TensorSource* tensors_ = nullptr;
  ModelFiles* files_ = nullptr;
};

/// Whether load() reads the tokenizer.
enum class TextUse : std::uint8_t { if_present, required, none };

struct LoadOptions {
  SessionOptions session = {};            ///< counted in the plan; the default of Transformer::session()
  int sessions = 1;                       ///< how many sessions the plan counts
  std::optional<BatchOptions> batch = std::nullopt;  ///< a batch that the plan counts
  std::size_t memory_limit = 0;           ///< bytes of the whole plan but the mapped weights; 0: none
  MissingFormat missing_format = MissingFormat::refuse;
  TextUse text = TextUse::if_present;
  FunctionRef<void(std::string_view stage)> progress = {};
};

/// A loaded model on backend B with its text side. Which family it is, is data here; Transformer and AnyTransformer
/// give it the facts.
template <class B>
class Pretrained {
 public:
  using Backend = B;
  using SessionType = Session<B>;
  using BackendOptions = typename B::Options;

  const Model<B>& model() const noexcept { return *model_; }
  const ModelConfig& config() const noexcept { return model_->config(); }
  /// Tokenizer, template and end tokens; nullptr if the model came without.
  const Language* language() const noexcept { return language_.get(); }
  /// Bytes that the loaded model holds, without sessions.
  MemoryUse use() const {
    MemoryUse use = model_->use();
    use[Purpose::tokenizer] += language_ ? language_->memory_bytes() : 0;
    return use;
  }

  /// A conversation. This object must outlive it, and may be moved meanwhile.
  expected<SessionType> session() const { return SessionType::make(*model_, session_defaults_); }
  expected<SessionType> session(const SessionOptions& options) const { return SessionType::make(*model_, options); }
  expected<Batch<B>> batch(const BatchOptions& options) const { return Batch<B>::make(*model_, options); }

 protected:
  Pretrained() = default;

  static expected<MemoryUse> plan_with(const FamilyFacts<B>& family, const ModelFiles& files, const LoadOptions& options) {
    TMODEL_TRY(const Examined examined, examine(family, files, options));
    return examined.plan;
  }

  static expected<Pretrained> load_with(const FamilyFacts<B>& family, B device, ModelFiles files, const LoadOptions& options) {
    TMODEL_TRY(Examined examined, examine(family, files, options));
    const std::size_t allocated = examined.plan.total() - examined.plan[Purpose::weights_mapped];
    if (options.memory_limit != 0 && allocated > options.memory_limit)
      return fail(Errc::over_budget, "memory plan", files.source.metadata.where, std::to_string(options.memory_limit) + " bytes",
                  std::to_string(allocated), "a shorter context or a smaller cache type needs less");
    options.progress("weights");
    Pretrained p;
    if (examined.language) p.language_ = std::make_unique<const Language>(std::move(*examined.language));
    p.session_defaults_ = examined.session;
    TMODEL_TRY(p.model_, Model<B>::load(std::move(device), family, std::move(files.source), std::move(examined.config), options.missing_format));
    return p;
  }

 private:
  struct Examined {
    ModelConfig config;
    SessionOptions session;
    std::optional<Language> language;
    MemoryUse plan;
  };

  static expected<Examined> examine(const FamilyFacts<B>& family, const ModelFiles& files, const LoadOptions& options) {
    Examined e;
    TMODEL_TRY(e.config, read_model_config(family, files.source));
    TMODEL_TRY(e.session, SessionType::settle(e.config, options.session));
    if (options.text == TextUse::required || (options.text == TextUse::if_present && Language::is_in(files))) {
      options.progress("tokenizer");
      TMODEL_TRY(e.language, Language::read(files));
      e.language->add_end_tokens(e.config.end_tokens);
      if (e.language->tokenizer().vocab_size() > e.config.vocab)
        return fail(Errc::bad_metadata, "tokenizer has more tokens than the embedding", files.source.metadata.where,
                    "at most " + std::to_string(e.config.vocab), std::to_string(e.language->tokenizer().vocab_size()));
    }
    TMODEL_TRY(e.plan, Model<B>::plan(family, files.source, e.config, options.missing_format));
    TMODEL_TRY(const MemoryUse session,
               SessionType::plan(e.config, family.specs[static_cast<std::size_t>(e.config.variant)], e.session));
    for (int i = 0; i < options.sessions; ++i) e.plan += session;
    if (options.batch) {
      TMODEL_TRY(const MemoryUse batch, Batch<B>::plan(e.config, family.specs[static_cast<std::size_t>(e.config.variant)], *options.batch));
      e.plan += batch;
    }
    e.plan[Purpose::tokenizer] += e.language ? e.language->memory_bytes() : 0;
    return e;
  }

  // On the heap, so that sessions and chats may point to them while this object moves.
  std::unique_ptr<Model<B>> model_;
  std::unique_ptr<const Language> language_;
  SessionOptions session_defaults_;
};

namespace detail {

enum class Lacking : std::uint8_t { nothing, family, backend, operation };

template <class F, class B>
consteval Lacking lacking() {
  if constexpr (!Family<F>) return Lacking::family;
  else if constexpr (!Backend<B>) return Lacking::backend;
  else {
    for (const DecoderSpec& spec : F::specs)
      if ((ops_of(spec) & ~B::Ops::bits) != 0) return Lacking::operation;
    return Lacking::nothing;
  }
}

// A wrong combination inherits from nothing useful: its one static_assert is then the first error.
struct NoModel {};
template <class F, class B>
using PretrainedOrNothing = typename std::conditional_t<lacking<F, B>() == Lacking::nothing, std::type_identity<Pretrained<B>>,
                                                        std::type_identity<NoModel>>::type;

}  // namespace detail

template <class F, class B>
class Transformer : public detail::PretrainedOrNothing<F, B> {
  static constexpr detail::Lacking lacking = detail::lacking<F, B>();
  static_assert(lacking != detail::Lacking::family,
                "tmodel: the first parameter of Transformer is not a model family; use LlamaTraits, Qwen2Traits or a type like them");
  static_assert(lacking != detail::Lacking::backend,
                "tmodel: the second parameter of Transformer is not a backend; use CpuSimd<f32>, OpenCl<f32> or Reference<f32>");
  static_assert(lacking != detail::Lacking::operation,
                "tmodel: this family needs an operation that this backend does not list in Ops");
  using Base = detail::PretrainedOrNothing<F, B>;

 public:
  using FamilyTraits = F;

  /// What load() and one session with options.session will take, from headers and limits alone. Exact: the same walk
  /// makes the memory. Errors: as load().
  static expected<MemoryUse> plan(const Source& source, const LoadOptions& options = {}) {
    return guard([&]() -> expected<MemoryUse> {
      TMODEL_TRY(const ModelFiles files, source.open());
      return Base::plan_with(family_facts<F, B>(), files, options);
    });
  }

  /// Opens, checks and loads a model. `backend` is B::Options, e.g. the threads. Errors: io, bad_file, bad_metadata,
  /// bad_tensor, wrong_family, unsupported, unsupported_cpu, out_of_memory, over_budget, device.
  template <class Options = typename B::Options>
  static expected<Transformer> load(const Source& source, const LoadOptions& options = {}, const Options& backend = {}) {
    return guard([&]() -> expected<Transformer> {
      TMODEL_TRY(B device, B::open(backend));
      options.progress("open");
      TMODEL_TRY(ModelFiles files, source.open());
      TMODEL_TRY(auto base, Base::load_with(family_facts<F, B>(), std::move(device), std::move(files), options));
      return Transformer(std::move(base));
    });
  }

 private:
  explicit Transformer(Base base) : Base(std::move(base)) {}
};

}  // namespace tmodel::inline v0
