#pragma once
// The list of families; detection and error messages read it.

#include "tmodel/families/llama.hpp"
#include "tmodel/families/qwen2.hpp"

namespace tmodel::inline v0 {

template <class... Fs>
struct FamilySet {
  template <class Fn> static void for_each(Fn&& fn) { (fn.template operator()<Fs>(), ...); }
};

using AllFamilies = FamilySet<LlamaTraits, Qwen2Traits>;

}  // namespace tmodel::inline v0
