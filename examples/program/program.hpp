#pragma once
// What the programs share: exit codes, the choice of a backend, options with one spelling everywhere.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "build_config.hpp"
#include "program/cpu_features.hpp"

namespace program {

enum ExitCode { ok = 0, usage = 1, model_error = 2, memory_error = 3, device_error = 4, differs = 5 };

inline int exit_code(tmodel::Errc code) {
  switch (code) {
    case tmodel::Errc::bad_argument: return usage;
    case tmodel::Errc::over_budget:
    case tmodel::Errc::out_of_memory: return memory_error;
    case tmodel::Errc::device:
    case tmodel::Errc::unsupported_cpu: return device_error;
    default: return model_error;
  }
}

/// One line on stderr; returns the exit code.
inline int report(const tmodel::Error& error) {
  std::fprintf(stderr, "error: %s\n", error.message().c_str());
  return exit_code(error.code);
}
inline int report_usage(const std::string& message) {
  std::fprintf(stderr, "error: %s\n", message.c_str());
  return usage;
}

struct DeviceChoice {
  std::string backend = default_backend;
  int threads = 0;
  std::string convert;
  tmodel::MissingFormat missing_format() const {
    return convert == "f16" ? tmodel::MissingFormat::convert_to_f16
           : convert == "f32" ? tmodel::MissingFormat::convert_to_f32 : tmodel::MissingFormat::refuse;
  }
};
inline void add_device_options(CLI::App& app, DeviceChoice& choice) {
  std::string known;
#if PROGRAM_WITH_REFERENCE
  known += " reference";
#endif
#if PROGRAM_WITH_CPU
  known += " cpu";
#endif
#if PROGRAM_WITH_OPENCL
  known += " opencl[:N]";
#endif
  app.add_option("--backend", choice.backend, "Backend:" + known)->capture_default_str();
  app.add_option("-t,--threads", choice.threads, "Threads of a CPU backend, 0: one per processor")->check(CLI::Range(0, 1024));
  app.add_option("--convert", choice.convert, "Convert weights that the backend has no kernel for to f16 or f32, instead of refusing them")
      ->check(CLI::IsMember({"f16", "f32"}));
}

/// Calls fn.template operator()<B>(options) with the chosen backend.
template <class Fn>
int with_backend(const DeviceChoice& choice, [[maybe_unused]] Fn&& fn) {
  [[maybe_unused]] const tmodel::HostOptions host{.threads = choice.threads};
#if PROGRAM_WITH_REFERENCE
  if (choice.backend == "reference") return fn.template operator()<tmodel::Reference<tmodel::f32, Formats>>(host);
#endif
#if PROGRAM_WITH_CPU
  if (choice.backend == "cpu") return fn.template operator()<tmodel::CpuSimd<tmodel::f32, tmodel::cpu::default_arch, Formats>>(host);
#endif
#if PROGRAM_WITH_OPENCL
  if (choice.backend == "opencl" || choice.backend.rfind("opencl:", 0) == 0) {
    using B = tmodel::OpenCl<tmodel::f32, OpenClFormats>;
    typename B::Options options;
    if (choice.backend.size() > 7) {
      const std::string number = choice.backend.substr(7);
      if (number.empty() || number.size() > 4 || number.find_first_not_of("0123456789") != std::string::npos)
        return report_usage("--backend opencl:N takes a device number, got " + choice.backend);
      options.device = std::atoi(number.c_str());
    }
    return fn.template operator()<B>(options);
  }
#endif
  return report_usage("backend " + choice.backend + " is not in this build");
}

struct ContextChoice {
  int context = 0;
  int chunk = 256;
  std::string kv;
};
inline void add_context_options(CLI::App& app, ContextChoice& choice) {
  app.add_option("-c,--ctx,--ctx-size", choice.context, "Positions of the context, 0: the model's, at most 4096")->check(CLI::Range(0, 1 << 22));
  app.add_option("--chunk", choice.chunk, "Prompt tokens computed at once; results do not depend on it")->check(CLI::Range(1, 4096))->capture_default_str();
  app.add_option("--kv", choice.kv, "Cached keys and values: f32, f16 or q8_0")->check(CLI::IsMember({"f32", "f16", "q8_0"}));
}
inline tmodel::SessionOptions session_options(const ContextChoice& choice) {
  tmodel::SessionOptions o{.context = choice.context, .chunk = choice.chunk};
  if (choice.kv == "f32") o.kv = tmodel::KvType::f32;
  if (choice.kv == "f16") o.kv = tmodel::KvType::f16;
  if (choice.kv == "q8_0") o.kv = tmodel::KvType::q8_0;
  return o;
}

/// Bytes for people: 93.8 MB.
inline std::string readable_bytes(std::size_t bytes) {
  char text[32];
  const double b = static_cast<double>(bytes);
  if (bytes < 10000) std::snprintf(text, sizeof text, "%zu B", bytes);
  else if (bytes < 10000000) std::snprintf(text, sizeof text, "%.1f kB", b / 1e3);
  else if (b < 10e9) std::snprintf(text, sizeof text, "%.1f MB", b / 1e6);
  else std::snprintf(text, sizeof text, "%.2f GB", b / 1e9);
  return text;
}

}  // namespace program
