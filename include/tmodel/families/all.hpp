#pragma once
// The list of families; detection and error messages read it. Where several open the same GGUF architecture, the first
// that accepts the file is taken.

#include "tmodel/families/falcon.hpp"
#include "tmodel/families/gemma.hpp"
#include "tmodel/families/gemma2.hpp"
#include "tmodel/families/gemma3.hpp"
#include "tmodel/families/granite.hpp"
#include "tmodel/families/llama.hpp"
#include "tmodel/families/mistral.hpp"
#include "tmodel/families/mixtral.hpp"
#include "tmodel/families/olmo2.hpp"
#include "tmodel/families/phi.hpp"
#include "tmodel/families/phi3.hpp"
#include "tmodel/families/qwen2.hpp"
#include "tmodel/families/qwen3.hpp"
#include "tmodel/families/qwen3_moe.hpp"
#include "tmodel/families/smollm3.hpp"
#include "tmodel/families/stablelm.hpp"

namespace tmodel::inline v0 {

template <class... Fs>
struct FamilySet {
  static constexpr std::size_t size = sizeof...(Fs);
  template <class Fn>
  static void for_each(Fn&& fn) {
    (fn.template operator()<Fs>(), ...);
  }
};

using AllFamilies = FamilySet<LlamaTraits, MistralTraits, MixtralTraits, Qwen2Traits, Qwen3Traits, Qwen3MoeTraits,
                              GemmaTraits, Gemma2Traits, Gemma3Traits, PhiTraits, Phi3Traits, FalconTraits,
                              StableLmTraits, SmolLm3Traits, Olmo2Traits, GraniteTraits>;

}  // namespace tmodel::inline v0
