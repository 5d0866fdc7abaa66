#pragma once
// AnyTransformer<B>: the family is found in the file. One instantiation per backend, however many families.

#include "tmodel/families/all.hpp"
#include "tmodel/transformer.hpp"

namespace tmodel::inline v0 {

namespace detail {

/// Calls fn with the facts of the family that the file names. Errors: wrong_family, which lists the known ones.
template <class B, class Families, class Fn>
auto with_family(const TensorSource& source, Fn&& fn) -> decltype(fn(std::declval<FamilyFacts<B>>())) {
  const Metadata& m = source.metadata;
  const std::string_view found = architecture_of(m);
  std::optional<FamilyFacts<B>> facts;
  std::string known;
  Families::for_each([&]<class F>() {
    for (const std::string_view name : m.dialect == Dialect::gguf ? F::gguf_architectures : F::model_types) {
      known += (known.empty() ? "" : ", ") + std::string(name);
      if (name == found) facts = family_facts<F, B>();
    }
  });
  if (facts) return fn(*facts);
  return fail(Errc::wrong_family, "no family of this program opens the model", m.where, known,
              found.empty() ? "no architecture named" : std::string(found));
}

}  // namespace detail

template <class B, class Families = AllFamilies>
class AnyTransformer : public Pretrained<B> {
  static_assert(Backend<B>, "tmodel: the first parameter of AnyTransformer is not a backend");

 public:
  /// As Transformer::plan().
  static expected<MemoryUse> plan(const Source& source, const LoadOptions& options = {}) {
    return guard([&]() -> expected<MemoryUse> {
      TMODEL_TRY(const ModelFiles files, source.open());
      return detail::with_family<B, Families>(files.source, [&](const FamilyFacts<B>& family) {
        return Pretrained<B>::plan_with(family, files, options);
      });
    });
  }

  /// As Transformer::load().
  static expected<AnyTransformer> load(const Source& source, const LoadOptions& options = {}, const typename B::Options& backend = {}) {
    return guard([&]() -> expected<AnyTransformer> {
      TMODEL_TRY(B device, B::open(backend));
      options.progress("open");
      TMODEL_TRY(ModelFiles files, source.open());
      return detail::with_family<B, Families>(files.source, [&](const FamilyFacts<B>& family) -> expected<AnyTransformer> {
        TMODEL_TRY(auto base, Pretrained<B>::load_with(family, std::move(device), std::move(files), options));
        return AnyTransformer(std::move(base));
      });
    });
  }

 private:
  explicit AnyTransformer(Pretrained<B> base) : Pretrained<B>(std::move(base)) {}
};

}  // namespace tmodel::inline v0
