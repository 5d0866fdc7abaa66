#pragma once
// A callable that the caller keeps alive: two pointers, no allocation, empty by default.
// Logging, progress and streamed text go through it.

#include <memory>
#include <type_traits>
#include <utility>

#include "tmodel/core/types.hpp"

namespace tmodel::inline v0 {

template <class Signature>
class FunctionRef;

/// Refers to a callable; calling an empty one returns R{}.
template <class R, class... Args>
class FunctionRef<R(Args...)> {
 public:
  FunctionRef() = default;
  template <class Fn>
    requires(!std::is_same_v<std::remove_cvref_t<Fn>, FunctionRef> && std::is_invocable_r_v<R, Fn&, Args...>)
  FunctionRef(Fn&& fn) noexcept  // NOLINT(google-explicit-constructor): a view, as std::string_view is
      : object_(const_cast<void*>(static_cast<const void*>(std::addressof(fn)))),
        call_([](void* object, Args... args) -> R {
          return (*static_cast<std::remove_reference_t<Fn>*>(object))(std::forward<Args>(args)...);
        }) {}

  explicit operator bool() const noexcept { return call_ != nullptr; }
  R operator()(Args... args) const { return call_ ? call_(object_, std::forward<Args>(args)...) : R(); }

 private:
  void* object_ = nullptr;
  R (*call_)(void*, Args...) = nullptr;
};

}  // namespace tmodel::inline v0
