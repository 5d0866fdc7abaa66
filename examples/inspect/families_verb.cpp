// inspect families: what this build opens, as README shows it.

#include "inspect/verbs.hpp"

namespace inspect {

using namespace tmodel;

namespace {

std::string joined(std::span<const std::string_view> names, const char* quote) {
  std::string text;
  for (const std::string_view name : names) text += (text.empty() ? "" : ", ") + (quote + std::string(name) + quote);
  return text;
}

template <class FormatList>
std::string formats_of() {
  std::string text;
  FormatList::for_each([&]<class Q>() { text += (text.empty() ? "" : " ") + std::string(Q::name); });
  return text;
}

}  // namespace

int families(bool markdown) {
  const char* const quote = markdown ? "`" : "";
  if (markdown)
    std::puts("| family | models | model_type | GGUF architecture | what GGUF cannot say |\n|---|---|---|---|---|");
  for (const FamilyData& f : detail::data_of<program::Families>) {
    const std::string types = joined(f.model_types, quote), architectures = joined(f.gguf_architectures, quote);
    if (markdown)
      std::printf("| %s | %s | %s | %s | %s |\n", std::string(f.name).c_str(), std::string(f.models).c_str(),
                  types.c_str(), architectures.c_str(), std::string(f.gguf_lacks).c_str());
    else
      std::printf("%-12s %s; model_type %s; GGUF %s\n", std::string(f.name).c_str(), std::string(f.models).c_str(),
                  types.c_str(), architectures.c_str());
  }
  const auto backend = [&](const char* name, const std::string& formats) {
    std::printf(markdown ? "| %s | %s |\n" : "%-12s %s\n", name, formats.c_str());
  };
  if (markdown)
    std::puts("\n| backend | weight formats |\n|---|---|");
  else
    std::puts("");
#if PROGRAM_WITH_REFERENCE
  backend("reference", formats_of<program::Formats>());
#endif
#if PROGRAM_WITH_CPU
  backend("cpu", formats_of<program::Formats>());
#endif
#if PROGRAM_WITH_OPENCL
  backend("opencl", formats_of<program::OpenClFormats>());
#endif
  return program::ok;
}

}  // namespace inspect
