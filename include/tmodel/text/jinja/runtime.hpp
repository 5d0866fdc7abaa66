#pragma once
// What lives while a template runs: scopes, macros and loops.
// Source: Jinja2 3.1 documentation, "Template Designer Documentation" (scoping, loops, macros).

#include "tmodel/text/jinja/ast.hpp"

namespace tmodel::inline v0::jinja {

/// Names of one scope. Inner scopes read through to their parents and never write there.
struct Frame {
  Frame* parent = nullptr;
  std::vector<std::pair<NameId, Value>> names{};
  bool is_captured = false;  ///< a macro may still read it when its scope has ended
  bool has_ended = false;
  Frame* next_kept = nullptr;

  void set(NameId name, Value value) {
    for (auto& [id, present] : names)
      if (id == name) {
        present = std::move(value);
        return;
      }
    names.emplace_back(name, std::move(value));
  }
};

struct MacroObject {
  const Stmt* definition = nullptr;
  const MacroInfo* info = nullptr;
  Frame* closure = nullptr;
  Charge charge{};
};

/// State of a running for loop: what `loop` is. Items are drawn when they are needed, so that a condition behind the
/// iterable sees what the body has done so far.
struct LoopObject {
  Iterator source;
  const Stmt* definition;
  Frame* outer;
  std::vector<Value> drawn{};  ///< from [visited] on: not yet visited
  std::size_t visited = 0;
  Value previous{}, current{};
  std::int64_t index0 = 0;
  bool has_previous = false, has_ended = false, has_changed_value = false;
  std::vector<Value> changed_value{};  ///< arguments of the last loop.changed
  Charge charge{};

  bool has_ahead() const noexcept { return visited < drawn.size(); }
  Value take() {
    Value item = std::move(drawn[visited++]);
    if (visited == drawn.size()) {
      drawn.clear();
      visited = 0;
    }
    return item;
  }
};

}  // namespace tmodel::inline v0::jinja
