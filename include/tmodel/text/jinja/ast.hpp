#pragma once
// The parsed form of a template: expressions by number, statements as a tree. Immutable once the parser is done.

#include "tmodel/text/jinja/operators.hpp"

namespace tmodel::inline v0::jinja {

using ExprId = std::uint32_t;  ///< index into Template::expressions; 0: none
using NameId = std::uint32_t;  ///< index into Template::names

enum class ExprKind : std::uint8_t {
  none,
  constant,     ///< index: constant
  name,         ///< index: name
  list,         ///< items
  tuple,        ///< items
  dict,         ///< items: key, value, key, value …
  attribute,    ///< a . index (name)
  item,         ///< a [b]
  slice,        ///< only as b of item: [a:b:c]
  call,         ///< a (arguments)
  filter,       ///< a | index (filter)(arguments)
  test,         ///< a is index (test)(arguments), or is not
  captured,     ///< the text of the enclosing filter or set block
  negative,     ///< -a
  positive,     ///< +a
  logical_not,  ///< not a
  binary,       ///< a op b
  concat,       ///< items joined by ~
  compare,      ///< a, then items of kind operand
  operand,      ///< op a
  logical_and,
  logical_or,
  conditional,  ///< b if a else c
};

struct Expr {
  ExprKind kind = ExprKind::none;
  Operator op{};
  bool negated = false;     ///< of a test
  std::uint16_t depth = 0;  ///< of the tree below, from 1
  std::uint32_t at = 0;     ///< byte of the source, for messages
  std::uint32_t index = 0;
  std::uint32_t arguments = 0;  ///< index into Template::calls
  ExprId a = 0, b = 0, c = 0;
  std::vector<ExprId> items{};
};

struct CallArguments {
  std::vector<ExprId> positional;
  std::vector<std::pair<NameId, ExprId>> named;
  ExprId star = 0, double_star = 0;  ///< *a, **b
};

enum class StmtKind : std::uint8_t {
  text,          ///< text
  print,         ///< {{ expr }}
  branches,      ///< body: statements of kind branch, the first that holds runs
  branch,        ///< expr (0: else), body
  loop,          ///< for target in expr if test: body, else otherwise
  set,           ///< target = expr
  set_block,     ///< target = body, through the filters of expr (0: none)
  macro,         ///< macro index, body
  call_block,    ///< call of expr with a macro made of body; without expr that macro itself: {% generation %}
  filter_block,  ///< body through expr
  with,          ///< bindings, body
  break_loop,
  continue_loop,
};

struct Stmt {
  StmtKind kind = StmtKind::text;
  std::uint32_t at = 0;
  ExprId expr = 0, target = 0, test = 0;
  std::uint32_t macro = 0;  ///< index into Template::macros
  Range text{};             ///< bytes of the source
  std::vector<Stmt> body{}, otherwise{};
  std::vector<NameId> hidden{}, hidden_otherwise{};  ///< names that start undefined in their scopes; see scopes.hpp
  std::vector<std::pair<ExprId, ExprId>> bindings{};
};

/// Parameters of a macro or of the body of a call block.
struct MacroInfo {
  std::string name;
  std::vector<NameId> parameters;
  std::vector<ExprId> defaults;  ///< of the last parameters
  bool declares_caller = false;  ///< among its parameters
  bool reads_caller = false, reads_varargs = false, reads_kwargs = false;
};

struct Template {
  std::string source;  ///< normalised
  std::vector<Expr> expressions{1};
  std::vector<CallArguments> calls{1};
  std::vector<Value> constants;
  std::vector<Value> names;
  NameId loop_name = 0, caller_name = 0, varargs_name = 0, kwargs_name = 0;  ///< of "loop" and so on
  std::vector<MacroInfo> macros;
  std::vector<Stmt> body;
  std::vector<NameId> hidden;  ///< as in Stmt, of the whole template
};

}  // namespace tmodel::inline v0::jinja
