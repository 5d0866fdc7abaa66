#pragma once
// The expressions of a template: the second half of the evaluator.
// Source: Jinja2 3.1 documentation, "Expressions"; Python 3 language reference.

#include "tmodel/text/jinja/evaluator.hpp"

namespace tmodel::inline v0::jinja {

inline Outcome<Value> Evaluator::look_up(NameId name, const Frame& frame) {
  for (const Frame* f = &frame; f; f = f->parent) {
    TMODEL_JINJA_CHECK(heap_.step(1 + f->names.size() / 16));
    for (const auto& [id, value] : f->names) {
      if (id != name) continue;
      // Jinja2 shows an internal object here: what a macro finds of a scope that is over is an accident.
      if (f->has_ended) return raise("a macro reads a name of a scope that has ended", Errc::unsupported);
      return value;
    }
  }
  const Value& key = template_.names[name];
  TMODEL_JINJA_CHECK(heap_.step(variables_.as_dict().entries.size() / 8));
  if (const Value* value = variables_.as_dict().find(key.text())) return *value;
  if (const auto global = find_global(key.text())) return Value::function(static_cast<int>(*global));
  return Value::undefined(key, false);
}

inline Outcome<Value> Evaluator::evaluate_sequence(const Expr& e, Frame& frame) {
  std::vector<Value> items;
  items.reserve(e.items.size());
  for (const ExprId id : e.items) {
    TMODEL_JINJA_TRY(Value item, evaluate(id, frame));
    items.push_back(std::move(item));
  }
  return heap_.sequence(e.kind == ExprKind::list ? Kind::list : Kind::tuple, std::move(items));
}

inline Outcome<Value> Evaluator::evaluate_dict(const Expr& e, Frame& frame) {
  std::vector<std::pair<Value, Value>> entries;
  for (std::size_t i = 0; i < e.items.size(); i += 2) {
    TMODEL_JINJA_TRY(Value key, evaluate(e.items[i], frame));
    TMODEL_JINJA_TRY(Value value, evaluate(e.items[i + 1], frame));
    TMODEL_JINJA_CHECK(put_entry(heap_, entries, std::move(key), std::move(value)));
  }
  return heap_.dict(std::move(entries));
}

inline Outcome<Value> Evaluator::evaluate_attribute(const Expr& e, Frame& frame) {
  TMODEL_JINJA_TRY(const Value object, evaluate(e.a, frame));
  const Value& name = template_.names[e.index];
  return object.is(Kind::loop) ? loop_attribute(object, name) : get_attribute(heap_, object, name);
}

inline Outcome<Value> Evaluator::evaluate_item(const Expr& e, Frame& frame) {
  TMODEL_JINJA_TRY(const Value object, evaluate(e.a, frame));
  const Expr& index = expr(e.b);
  if (index.kind != ExprKind::slice) {
    TMODEL_JINJA_TRY(const Value key, evaluate(e.b, frame));
    return object.is(Kind::loop) && key.is_string() ? loop_attribute(object, key) : get_item(heap_, object, key);
  }
  Value bounds[3] = {Value::none(), Value::none(), Value::none()};
  const ExprId parts[3] = {index.a, index.b, index.c};
  for (int i = 0; i < 3; ++i) {
    if (parts[i] == 0) continue;
    TMODEL_JINJA_TRY(bounds[i], evaluate(parts[i], frame));
  }
  return slice(heap_, object, bounds[0], bounds[1], bounds[2]);
}

inline Outcome<Arguments> Evaluator::evaluate_arguments(std::uint32_t index, Frame& frame) {
  const CallArguments& call = template_.calls[index];
  Arguments arguments;
  for (const ExprId id : call.positional) {
    TMODEL_JINJA_TRY(Value value, evaluate(id, frame));
    arguments.positional.push_back(std::move(value));
  }
  if (call.star != 0) {
    TMODEL_JINJA_TRY(const Value more, evaluate(call.star, frame));
    TMODEL_JINJA_TRY(const std::vector<Value> items, elements_of(heap_, more));
    arguments.positional.insert(arguments.positional.end(), items.begin(), items.end());
  }
  for (const auto& [name, id] : call.named) {
    TMODEL_JINJA_TRY(Value value, evaluate(id, frame));
    arguments.named.emplace_back(template_.names[name], std::move(value));
  }
  if (call.double_star != 0) {
    TMODEL_JINJA_TRY(const Value more, evaluate(call.double_star, frame));
    if (!more.is(Kind::dict)) return raise("the argument behind ** must be a mapping");
    for (const auto& [key, value] : more.as_dict().entries) {
      TMODEL_JINJA_CHECK(heap_.step(1 + arguments.named.size()));
      if (!key.is_string()) return raise("keywords must be strings");
      if (arguments.find(key.text())) return raise({"got argument '", key.text(), "' twice"});
      arguments.named.emplace_back(key, value);
    }
  }
  return arguments;
}

inline Outcome<Value> Evaluator::evaluate_call(const Expr& e, Frame& frame) {
  TMODEL_JINJA_TRY(const Value callee, evaluate(e.a, frame));
  TMODEL_JINJA_TRY(const Arguments arguments, evaluate_arguments(e.arguments, frame));
  return call_value(callee, arguments);
}

inline Outcome<Value> Evaluator::evaluate_filter(const Expr& e, Frame& frame) {
  TMODEL_JINJA_TRY(const Value value, evaluate(e.a, frame));
  TMODEL_JINJA_TRY(const Arguments arguments, evaluate_arguments(e.arguments, frame));
  return call_filter(heap_, static_cast<int>(e.index), value, arguments);
}

inline Outcome<Value> Evaluator::evaluate_test(const Expr& e, Frame& frame) {
  TMODEL_JINJA_TRY(const Value value, evaluate(e.a, frame));
  TMODEL_JINJA_TRY(const Arguments arguments, evaluate_arguments(e.arguments, frame));
  TMODEL_JINJA_TRY(const bool holds, call_test(heap_, static_cast<int>(e.index), value, arguments));
  return Value::boolean(holds != e.negated);
}

inline Outcome<Value> Evaluator::evaluate_unary(const Expr& e, Frame& frame) {
  TMODEL_JINJA_TRY(const Value value, evaluate(e.a, frame));
  if (e.kind == ExprKind::logical_not) return Value::boolean(!truth(value));
  return negate(heap_, value, e.kind == ExprKind::negative);
}

inline Outcome<Value> Evaluator::evaluate_binary(const Expr& e, Frame& frame) {
  TMODEL_JINJA_TRY(const Value a, evaluate(e.a, frame));
  TMODEL_JINJA_TRY(const Value b, evaluate(e.b, frame));
  return arithmetic(heap_, e.op, a, b);
}

inline Outcome<Value> Evaluator::evaluate_concat(const Expr& e, Frame& frame) {
  TextBuilder out(heap_);
  for (const ExprId id : e.items) {
    TMODEL_JINJA_TRY(const Value item, evaluate(id, frame));
    TMODEL_JINJA_CHECK(str(heap_, item, out));
  }
  return out.finish();
}

inline Outcome<Value> Evaluator::evaluate_compare(const Expr& e, Frame& frame) {
  TMODEL_JINJA_TRY(Value left, evaluate(e.a, frame));
  for (const ExprId id : e.items) {
    const Expr& operand = expr(id);
    TMODEL_JINJA_TRY(Value right, evaluate(operand.a, frame));
    TMODEL_JINJA_TRY(const bool holds, compare(heap_, operand.op, left, right));
    if (!holds) return Value::boolean(false);
    left = std::move(right);
  }
  return Value::boolean(true);
}

inline Outcome<Value> Evaluator::evaluate_logical(const Expr& e, Frame& frame) {
  TMODEL_JINJA_TRY(Value left, evaluate(e.a, frame));
  if (truth(left) == (e.kind == ExprKind::logical_or)) return left;
  return evaluate(e.b, frame);
}

inline Outcome<Value> Evaluator::evaluate_conditional(const Expr& e, Frame& frame) {
  TMODEL_JINJA_TRY(const Value condition, evaluate(e.a, frame));
  if (truth(condition)) return evaluate(e.b, frame);
  return e.c != 0 ? evaluate(e.c, frame) : Outcome<Value>(Value());
}

}  // namespace tmodel::inline v0::jinja
