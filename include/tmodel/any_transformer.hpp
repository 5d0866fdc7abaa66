#pragma once
// AnyTransformer<B>: the family is found in the file. One instantiation per backend, however many families.

#include "tmodel/families/all.hpp"
#include "tmodel/transformer.hpp"

namespace tmodel::inline v0 {

namespace detail {

template <class... Fs>
constexpr std::array<FamilyData, sizeof...(Fs)> data_of_each(const FamilySet<Fs...>&) noexcept {
  return {family_data<Fs>()...};
}
template <class B, class... Fs>
constexpr std::array<FamilyFacts<B>, sizeof...(Fs)> facts_of_each(const FamilySet<Fs...>&) noexcept {
  return {family_facts<Fs, B>()...};
}

/// The families of a set as data, for find_family(), and with their forward passes on one backend.
template <class Families>
inline constexpr auto data_of = data_of_each(Families());
template <class B, class Families>
inline constexpr auto facts_of = facts_of_each<B>(Families());

/// Calls fn with the facts of the family that the file names. Errors: as find_family().
template <class B, class Families, class Fn>
auto with_family(const TensorSource& source, Fn&& fn) -> decltype(fn(std::declval<const FamilyFacts<B>&>())) {
  TMODEL_TRY(const std::size_t found, find_family(data_of<Families>, source));
  return fn(facts_of<B, Families>[found]);
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
