#pragma once
// Which names start out undefined in a scope. Jinja2 decides per scope, when it compiles: a name that a scope assigns
// outside of any if, has not read before and no outer scope knows, hides the template variable of that name from the
// start of the scope, for inner scopes too. {% for m in a %}{{ x }}{% endfor %}{% set x = 1 %} never prints variable x.
// Source: Jinja2 3.1's documented scoping and its behaviour; other reads fall through to outer scopes at run time.

#include <unordered_set>

#include "tmodel/text/jinja/ast.hpp"

namespace tmodel::inline v0::jinja {

class ScopeAnalysis {
 public:
  explicit ScopeAnalysis(Template& parsed) noexcept : template_(parsed) {}
  /// Fills the lists of hidden names.
  void run() {
    Scope root;
    visit(template_.body, root);
    template_.hidden = hidden_in(root);
    visit_inner(template_.body, root);
  }

 private:
  struct Scope {
    const Scope* parent = nullptr;
    std::unordered_set<NameId> known{};   ///< read or assigned here
    std::unordered_set<NameId> hidden{};  ///< assigned first
    bool knows(NameId name) const {
      for (const Scope* s = this; s; s = s->parent)
        if (s->known.count(name) != 0) return true;
      return false;
    }
    void load(NameId name) {
      if (!knows(name)) known.insert(name);
    }
    void declare(NameId name) { known.insert(name); }
    void store(NameId name, bool in_branch) {
      if (known.count(name) != 0) return;
      if (!in_branch && !(parent && parent->knows(name))) hidden.insert(name);
      known.insert(name);
    }
  };

  static std::vector<NameId> hidden_in(const Scope& scope) { return {scope.hidden.begin(), scope.hidden.end()}; }

  void load(ExprId id, Scope& scope) const {
    if (id == 0) return;
    const Expr& e = template_.expressions[id];
    if (e.kind == ExprKind::name) scope.load(e.index);
    // In the order in which Jinja2 visits; only whether a read comes before an assignment matters.
    for (const ExprId child : {e.a, e.b, e.c}) load(child, scope);
    for (const ExprId child : e.items) load(child, scope);
    const CallArguments& call = template_.calls[e.arguments];
    for (const ExprId child : call.positional) load(child, scope);
    for (const auto& argument : call.named) load(argument.second, scope);
    load(call.star, scope);
    load(call.double_star, scope);
  }
  /// An assignment target: names are stored, or declared as parameters of the scope; the object of an attribute is
  /// read.
  void assign(ExprId id, Scope& scope, bool declares, bool in_branch) const {
    const Expr& e = template_.expressions[id];
    if (e.kind == ExprKind::attribute) return load(e.a, scope);
    if (e.kind == ExprKind::name) return declares ? scope.declare(e.index) : scope.store(e.index, in_branch);
    for (const ExprId item : e.items) assign(item, scope, declares, in_branch);
  }

  /// What the statements of a scope read and assign themselves, their inner scopes left out.
  void visit(const std::vector<Stmt>& body, Scope& scope, bool in_branch = false) const {
    for (const Stmt& stmt : body) {
      switch (stmt.kind) {
        case StmtKind::branches:
        case StmtKind::branch:
          load(stmt.expr, scope);
          visit(stmt.body, scope, true);
          break;
        case StmtKind::set:
          load(stmt.expr, scope);
          assign(stmt.target, scope, false, in_branch);
          break;
        case StmtKind::set_block:
        case StmtKind::macro:
          assign(stmt.target, scope, false, in_branch);
          break;
        case StmtKind::with:
          for (const auto& binding : stmt.bindings) load(binding.second, scope);
          break;
        default:
          load(stmt.expr, scope);
          break;  // print, loop, call_block, filter_block
      }
    }
  }

  /// Analyses the scopes inside, once everything about the outer one is known.
  void visit_inner(std::vector<Stmt>& body, const Scope& scope) const {
    for (Stmt& stmt : body) {
      if (stmt.kind == StmtKind::branches || stmt.kind == StmtKind::branch) {
        visit_inner(stmt.body, scope);
        continue;
      }
      Scope inner;
      inner.parent = &scope;
      if (stmt.kind == StmtKind::loop) {
        inner.declare(template_.loop_name);
        assign(stmt.target, inner, true, false);
        Scope otherwise;
        otherwise.parent = &scope;
        visit(stmt.otherwise, otherwise);
        stmt.hidden_otherwise = hidden_in(otherwise);
        visit_inner(stmt.otherwise, otherwise);
      } else if (stmt.kind == StmtKind::macro || stmt.kind == StmtKind::call_block) {
        const MacroInfo& info = template_.macros[stmt.macro];
        for (const NameId parameter : info.parameters) inner.declare(parameter);
        if (info.reads_caller) inner.declare(template_.caller_name);
        if (info.reads_varargs) inner.declare(template_.varargs_name);
        if (info.reads_kwargs) inner.declare(template_.kwargs_name);
        for (const ExprId value : info.defaults) load(value, inner);
      } else if (stmt.kind == StmtKind::with) {
        for (const auto& binding : stmt.bindings) assign(binding.first, inner, true, false);
      }
      visit(stmt.body, inner);
      stmt.hidden = hidden_in(inner);
      visit_inner(stmt.body, inner);
    }
  }

  Template& template_;
};

}  // namespace tmodel::inline v0::jinja
