// For run_traps.py: exit code 1 if Reference differs from a golden whose folder's name contains one of the arguments.

#include <cstdio>

#include "families/golden.hpp"
#include "tmodel/backends/reference.hpp"

int main(int argc, char** argv) {
  int compared = 0, wrong = 0;
  for (const auto& g : golden::all()) {
    const std::string name = g.folder.filename().string();
    if (std::none_of(argv + 1, argv + argc, [&](const char* part) { return name.find(part) != name.npos; })) continue;
    const auto r = golden::compute<tmodel::Reference<tmodel::f32>>(g, {.executor = {}, .threads = 1});
    const bool right = r && r->worst <= 2e-5 && r->greedy == g.greedy;
    ++compared;
    if (!right)
      ++wrong,
          std::printf("%s: %s\n", name.c_str(), r ? std::to_string(r->worst).c_str() : r.error().message().c_str());
  }
  std::printf("%d of %d goldens differ\n", wrong, compared);
  return compared == 0 ? 2 : wrong == 0 ? 0 : 1;
}
