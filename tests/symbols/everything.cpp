// Instantiates the whole library, so that its object file can be searched for forbidden calls.

#include "tmodel/backends/opencl.hpp"
#include "tmodel/backends/reference.hpp"
#include "tmodel/tmodel.hpp"

namespace tmodel::inline v0 {
#define TMODEL_ALL_OF(B)                          \
  template class Transformer<LlamaTraits, B>;     \
  template class Transformer<Qwen2Traits, B>;     \
  template class Session<B>;                      \
  template class Batch<B>;                        \
  template class Model<B>;
TMODEL_ALL_OF(Reference<f32>)
TMODEL_ALL_OF(Reference<f64>)
TMODEL_ALL_OF(CpuSimd<f32>)
TMODEL_ALL_OF(OpenCl<f32>)
}  // namespace tmodel::inline v0

using tmodel::ChatTemplate, tmodel::Sampler, tmodel::Tokenizer;

// Named functions that no template above reaches.
auto touch(const tmodel::Tokenizer& t, std::string_view text) { return t.encode(text); }
auto touch(std::string_view text) { return ChatTemplate::parse(text, "template"); }
auto touch(const ChatTemplate& t, const tmodel::jinja::Value& v) { return t.render(v, {}); }
auto touch(const tmodel::SamplerOptions& o) { return Sampler::create(o, 1000); }
auto touch(Sampler& s, std::span<float> logits, tmodel::DrawKey key) { return s(logits, {}, key); }
auto touch() { return tmodel::opencl::list_devices(); }
