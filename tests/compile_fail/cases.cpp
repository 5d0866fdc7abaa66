// Each CASE is a wrong combination; the compiler must say its one sentence. run_cases.py holds the sentences.

#include "tmodel/backends/opencl.hpp"
#include "tmodel/tmodel.hpp"

using namespace tmodel;

#if CASE == 0  // nothing wrong: proves that the other cases fail for their own reason
using Wrong = Transformer<Qwen2Traits, CpuSimd<f32>>;
#elif CASE == 1
struct NotAFamily {};
using Wrong = Transformer<NotAFamily, CpuSimd<f32>>;
#elif CASE == 2
using Wrong = Transformer<LlamaTraits, int>;
#elif CASE == 3
struct CappedTraits : LlamaTraits {
  static constexpr std::array specs{DecoderSpec{.activation = Activation::gelu_erf, .attention_softcap = true}};
};
struct PlainCpu : CpuSimd<f32> {
  using Ops = OpSet<>;
  using CpuSimd<f32>::CpuSimd;
  static expected<PlainCpu> open(const Options&) { return fail(Errc::unsupported); }
};
using Wrong = Transformer<CappedTraits, PlainCpu>;
#elif CASE == 4
using Wrong = Transformer<LlamaTraits, CpuSimd<int>>;
#elif CASE == 5
using Wrong = Transformer<LlamaTraits, CpuSimd<f32, cpu::avx2>>;  // compiled without -mavx2
#elif CASE == 6
using Wrong = Transformer<LlamaTraits, OpenCl<f32, FormatSet<F32, Q4_K>>>;
#elif CASE == 7
using Wrong = Transformer<LlamaTraits, CpuSimd<f32, cpu::default_arch, FormatSet<F32, int>>>;
#elif CASE == 8
using Wrong = Transformer<LlamaTraits, CpuSimd<f32, cpu::avx2_vnni>>;  // compiled without -mavxvnni
#elif CASE == 9
using Wrong = Transformer<LlamaTraits, CpuSimd<f32, cpu::neon64_dotprod>>;  // compiled without +dotprod
#elif CASE == 10
using Wrong = Transformer<LlamaTraits, CpuSimd<f32, cpu::no_arch>>;
#endif

auto load() { return Wrong::load("model.gguf"); }
