#pragma once
// Runs a parsed template: statements, scopes, loops and macros. One object per rendering; the template stays const.
// Source: Jinja2 3.1 documentation, "Template Designer Documentation" (scoping, loops, macros, call blocks).

#include "tmodel/text/jinja/ast.hpp"
#include "tmodel/text/jinja/filters.hpp"
#include "tmodel/text/jinja/globals.hpp"
#include "tmodel/text/jinja/lexer.hpp"
#include "tmodel/text/jinja/runtime.hpp"

namespace tmodel::inline v0::jinja {

class Evaluator {
 public:
  Evaluator(const Template& parsed, const Value& variables, const std::optional<LocalTime>& now, const Limits& limits)
      : template_(parsed),
        variables_(variables),
        now_(now),
        limits_(limits),
        heap_(limits),
        output_(heap_),
        out_(&output_) {}
  Evaluator(const Evaluator&) = delete;
  Evaluator& operator=(const Evaluator&) = delete;
  ~Evaluator() {
    // Values may hold macros, and frames hold values: emptied first, freed after.
    root_.names.clear();
    for (Frame* frame = kept_; frame; frame = frame->next_kept) frame->names.clear();
    while (kept_) delete std::exchange(kept_, kept_->next_kept);
  }

  Outcome<Text> run() {
    root_.is_captured = true;
    hide(template_.hidden, root_);
    TMODEL_JINJA_TRY([[maybe_unused]] const Flow flow, run_body(template_.body, root_));
    TMODEL_JINJA_CHECK(output_.check());
    return std::move(output_).take();
  }

 private:
  enum class Flow : std::uint8_t { normal, broken, continued };

  class Deeper {
   public:
    explicit Deeper(Evaluator& evaluator) noexcept : evaluator_(evaluator) { ++evaluator_.depth_; }
    Deeper(const Deeper&) = delete;
    Deeper& operator=(const Deeper&) = delete;
    ~Deeper() { --evaluator_.depth_; }

   private:
    Evaluator& evaluator_;
  };

  /// A scope on the stack. If a macro was defined in it, its frame lives on to the end of the rendering.
  class Scope {
   public:
    Scope(Evaluator& evaluator, Frame& parent, const std::vector<NameId>& hidden)
        : evaluator_(evaluator), frame_(std::make_unique<Frame>()) {
      frame_->parent = &parent;
      evaluator.hide(hidden, *frame_);
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
    ~Scope() {
      if (!frame_->is_captured) return;
      frame_->has_ended = true;
      frame_->next_kept = evaluator_.kept_;
      evaluator_.kept_ = frame_.release();
    }
    Frame& frame() noexcept { return *frame_; }

   private:
    Evaluator& evaluator_;
    std::unique_ptr<Frame> frame_;
  };

  /// Sends output to a text of its own while it lives.
  class Capture {
   public:
    explicit Capture(Evaluator& evaluator) : evaluator_(evaluator), builder_(evaluator.heap_), outer_(evaluator.out_) {
      evaluator_.out_ = &builder_;
    }
    Capture(const Capture&) = delete;
    Capture& operator=(const Capture&) = delete;
    ~Capture() { evaluator_.out_ = outer_; }
    Outcome<Value> finish() { return builder_.finish(); }

   private:
    Evaluator& evaluator_;
    TextBuilder builder_;
    TextBuilder* outer_;
  };

  void hide(const std::vector<NameId>& names, Frame& frame) const {
    for (const NameId name : names) frame.set(name, Value::undefined(template_.names[name], false));
  }
  tl::unexpected<Raised> raise_here(std::uint32_t at, std::initializer_list<std::string_view> what) const {
    return raise_at(template_.source, at, what);
  }
  tl::unexpected<Raised> raise_here(std::uint32_t at, std::string_view what) const { return raise_here(at, {what}); }
  /// Says where an error arose, unless something deeper has.
  TMODEL_NOINLINE void locate(Error& error, std::uint32_t at) const {
    if (!error.where.empty() || error.code == Errc::out_of_memory) return;
    const Position p = position_of(template_.source, at);
    error.where = std::to_string(p.line) + ":" + std::to_string(p.column);
  }
  const Expr& expr(ExprId id) const noexcept { return template_.expressions[id]; }
  Outcome<void> emit(const Value& value) {
    TMODEL_JINJA_CHECK(str(heap_, value, *out_));
    return check_output();
  }
  /// What a filter block or a call block gives: Jinja2 does not turn it into text.
  Outcome<void> emit_text(const Value& value) {
    if (!value.is_string()) return raise({"expected text from this block, not ", name_of(value.kind())});
    return emit(value);
  }
  Outcome<void> check_output() const {
    if (out_->text().bytes.size() > limits_.output_bytes) return raise("the rendered text is too long");
    return out_->check();
  }

  // Statements.

  Outcome<Flow> run_body(const std::vector<Stmt>& body, Frame& frame) {
    const Deeper deeper(*this);
    if (depth_ > limits_.depth) return raise("the template nests its calls too deeply");
    for (const Stmt& stmt : body) {
      auto flow = run_statement(stmt, frame);
      if (!flow) {
        locate(*flow.error(), stmt.at);
        return flow;
      }
      if (*flow != Flow::normal) return flow;
    }
    return Flow::normal;
  }

  Outcome<Flow> run_statement(const Stmt& stmt, Frame& frame) {
    TMODEL_JINJA_CHECK(heap_.step());
    switch (stmt.kind) {
      case StmtKind::text:
        out_->append(std::string_view(template_.source).substr(stmt.text.begin, stmt.text.end - stmt.text.begin));
        TMODEL_JINJA_CHECK(check_output());
        return Flow::normal;
      case StmtKind::print:
        return run_print(stmt, frame);
      case StmtKind::branches:
        return run_branches(stmt, frame);
      case StmtKind::branch:
        return run_body(stmt.body, frame);
      case StmtKind::loop:
        return run_loop(stmt, frame);
      case StmtKind::set:
        return run_set(stmt, frame);
      case StmtKind::set_block:
      case StmtKind::filter_block:
        return run_captured(stmt, frame);
      case StmtKind::macro:
        return run_macro_definition(stmt, frame);
      case StmtKind::call_block:
        return run_call_block(stmt, frame);
      case StmtKind::with:
        return run_with(stmt, frame);
      case StmtKind::break_loop:
        return Flow::broken;
      case StmtKind::continue_loop:
        return Flow::continued;
    }
    return Flow::normal;
  }

  Outcome<Flow> run_print(const Stmt& stmt, Frame& frame) {
    TMODEL_JINJA_TRY(const Value value, evaluate(stmt.expr, frame));
    TMODEL_JINJA_CHECK(emit(value));
    return Flow::normal;
  }

  Outcome<Flow> run_branches(const Stmt& stmt, Frame& frame) {
    for (const Stmt& branch : stmt.body) {
      bool holds = branch.expr == 0;
      if (!holds) {
        TMODEL_JINJA_TRY(const Value condition, evaluate(branch.expr, frame));
        holds = truth(condition);
      }
      if (holds) return run_body(branch.body, frame);
    }
    return Flow::normal;
  }

  Outcome<Flow> run_set(const Stmt& stmt, Frame& frame) {
    TMODEL_JINJA_TRY(Value value, evaluate(stmt.expr, frame));
    TMODEL_JINJA_CHECK(assign(stmt.target, std::move(value), frame));
    return Flow::normal;
  }

  /// {% set x %}…{% endset %} and {% filter f %}…{% endfilter %}.
  Outcome<Flow> run_captured(const Stmt& stmt, Frame& frame) {
    Scope scope(*this, frame, stmt.hidden);
    Value text;
    {
      Capture capture(*this);
      TMODEL_JINJA_TRY(const Flow flow, run_body(stmt.body, scope.frame()));
      if (flow != Flow::normal) return flow;
      TMODEL_JINJA_TRY(text, capture.finish());
    }
    if (stmt.expr != 0) {
      std::swap(captured_, text);
      auto filtered = evaluate(stmt.expr, scope.frame());
      std::swap(captured_, text);
      if (!filtered) return tl::unexpected<Raised>(std::move(filtered).error());
      text = std::move(*filtered);
    }
    TMODEL_JINJA_CHECK(stmt.kind == StmtKind::filter_block ? emit_text(text)
                                                           : assign(stmt.target, std::move(text), frame));
    return Flow::normal;
  }

  Outcome<Flow> run_with(const Stmt& stmt, Frame& frame) {
    Scope scope(*this, frame, stmt.hidden);
    for (const auto& [target, expression] : stmt.bindings) {
      TMODEL_JINJA_TRY(Value value, evaluate(expression, frame));
      TMODEL_JINJA_CHECK(assign(target, std::move(value), scope.frame()));
    }
    return run_body(stmt.body, scope.frame());
  }

  Outcome<void> assign(ExprId target_id, Value value, Frame& frame) {
    const Expr& target = expr(target_id);
    if (target.kind == ExprKind::name) {
      TMODEL_JINJA_CHECK(heap_.step(frame.names.size() / 16));
      frame.set(target.index, std::move(value));
      return {};
    }
    if (target.kind == ExprKind::attribute) {
      TMODEL_JINJA_TRY(const Value object, evaluate(target.a, frame));
      if (!object.is(Kind::name_space))
        return raise_here(target.at, "cannot assign an attribute of an object that is not a namespace");
      if (template_.names[target.index].text().starts_with('_')) return raise_private_name();
      return heap_.set_attribute(object.as_namespace(), template_.names[target.index], std::move(value));
    }
    TMODEL_JINJA_TRY(std::vector<Value> items, elements_of(heap_, value));
    if (items.size() != target.items.size())
      return raise_here(target.at, {std::to_string(target.items.size()), " values expected to unpack, got ",
                                    std::to_string(items.size())});
    for (std::size_t i = 0; i < items.size(); ++i)
      TMODEL_JINJA_CHECK(assign(target.items[i], std::move(items[i]), frame));
    return {};
  }

  // Loops.

  /// Draws one more item that the loop's condition lets through; false at the end.
  Outcome<bool> draw(LoopObject& loop) {
    for (Value item;;) {
      TMODEL_JINJA_TRY(const bool more, loop.source.next(heap_, item));
      if (!more) return false;
      bool passes = true;
      if (loop.definition->test != 0) {
        Scope scope(*this, *loop.outer, {});
        TMODEL_JINJA_CHECK(assign(loop.definition->target, item, scope.frame()));
        TMODEL_JINJA_TRY(const Value condition, evaluate(loop.definition->test, scope.frame()));
        passes = truth(condition);
      }
      if (!passes) continue;
      if (loop.drawn.size() == loop.drawn.capacity() &&
          !loop.charge.grow(heap_.budget(), (loop.drawn.size() + 1) * sizeof(Value)))
        return Heap::too_large();
      loop.drawn.push_back(std::move(item));
      return true;
    }
  }

  Outcome<Flow> run_loop(const Stmt& stmt, Frame& frame) {
    TMODEL_JINJA_TRY(Value iterable, evaluate(stmt.expr, frame));
    const int depth = iterable.depth() + 1;
    auto source = Iterator::over(std::move(iterable));
    if (!source) {
      locate(*source.error(), expr(stmt.expr).at);
      return tl::unexpected<Raised>(std::move(source).error());
    }
    if (depth > max_value_depth) return Heap::too_deep();
    const auto loop = std::make_shared<LoopObject>(LoopObject{std::move(*source), &stmt, &frame});
    const LoopEnd end(*loop);
    const Value loop_value(Kind::loop, loop, depth);
    bool visited = false, completed = false;
    for (;; ++loop->index0) {
      if (!loop->has_ahead()) {
        TMODEL_JINJA_TRY(const bool more, draw(*loop));
        if (!more) break;
      }
      loop->has_previous = visited;
      loop->previous = std::exchange(loop->current, loop->take());
      visited = true;
      Scope scope(*this, frame, stmt.hidden);
      scope.frame().set(template_.loop_name, loop_value);
      TMODEL_JINJA_CHECK(assign(stmt.target, loop->current, scope.frame()));
      TMODEL_JINJA_TRY(const Flow flow, run_body(stmt.body, scope.frame()));
      if (flow == Flow::normal) completed = true;
      if (flow == Flow::broken) break;
    }
    // Jinja2 runs the else branch unless a visit came to the end of the body; break and continue do not.
    if (completed || stmt.otherwise.empty()) return Flow::normal;
    Scope scope(*this, frame, stmt.hidden_otherwise);
    return run_body(stmt.otherwise, scope.frame());
  }

  /// When a loop ends, what it held goes: it could hold itself.
  class LoopEnd {
   public:
    explicit LoopEnd(LoopObject& loop) noexcept : loop_(loop) {}
    LoopEnd(const LoopEnd&) = delete;
    LoopEnd& operator=(const LoopEnd&) = delete;
    ~LoopEnd() {
      loop_.has_ended = true;
      loop_.drawn.clear();
      loop_.changed_value.clear();
    }

   private:
    LoopObject& loop_;
  };

  Outcome<Value> loop_attribute(const Value& value, const Value& name) {
    LoopObject& loop = value.as<LoopObject>();
    const std::string_view key = name.text();
    if (loop.has_ended) return raise("'loop' is used after its loop has ended");
    const auto number = [](std::int64_t n) { return Outcome<Value>(Value::integer(n)); };
    if (key == "index") return number(loop.index0 + 1);
    if (key == "index0") return number(loop.index0);
    if (key == "first") return Value::boolean(loop.index0 == 0);
    if (key == "depth") return number(1);
    if (key == "depth0") return number(0);
    if (key == "previtem") return loop.has_previous ? loop.previous : Value::undefined(name, true);
    if (key == "cycle") return heap_.method(value, static_cast<int>(Method::loop_cycle));
    if (key == "changed") return heap_.method(value, static_cast<int>(Method::loop_changed));
    if (key == "last" || key == "nextitem") {
      bool more = loop.has_ahead();
      if (!more) {
        TMODEL_JINJA_TRY(more, draw(loop));
      }
      if (key == "last") return Value::boolean(!more);
      return more ? loop.drawn[loop.visited] : Value::undefined(name, true);
    }
    if (key == "length" || key == "revindex" || key == "revindex0") {
      for (bool more = true; more;) {
        TMODEL_JINJA_TRY(more, draw(loop));
      }
      const std::int64_t left = static_cast<std::int64_t>(loop.drawn.size() - loop.visited);
      return number(key == "length" ? loop.index0 + 1 + left : key == "revindex" ? left + 1 : left);
    }
    return Value::undefined(name, true);
  }

  Outcome<Value> call_loop_method(LoopObject& loop, Method method, const Arguments& arguments) {
    if (loop.has_ended) return raise("'loop' is used after its loop has ended");
    if (!arguments.named.empty()) return raise("methods of 'loop' take no keyword arguments");
    const auto& given = arguments.positional;
    if (method == Method::loop_cycle) {
      if (given.empty()) return raise("no items for cycling given");
      return given[static_cast<std::size_t>(loop.index0) % given.size()];
    }
    bool same = loop.has_changed_value && given.size() == loop.changed_value.size();
    for (std::size_t i = 0; same && i < given.size(); ++i) {
      TMODEL_JINJA_TRY(same, equal(heap_, loop.changed_value[i], given[i]));
    }
    loop.has_changed_value = true;
    loop.changed_value = given;
    return Value::boolean(!same);
  }

  // Macros.

  Outcome<Value> make_macro(const Stmt& stmt, Frame& frame) {
    auto macro = std::make_shared<MacroObject>();
    constexpr std::size_t macro_bytes = 512;  // with the frames it keeps
    if (!macro->charge.grow(heap_.budget(), macro_bytes)) return Heap::too_large();
    macro->definition = &stmt;
    macro->info = &template_.macros[stmt.macro];
    macro->closure = &frame;
    for (Frame* f = &frame; f && !f->is_captured; f = f->parent) f->is_captured = true;
    return Value(Kind::macro, std::move(macro), 0);
  }
  Outcome<Flow> run_macro_definition(const Stmt& stmt, Frame& frame) {
    TMODEL_JINJA_TRY(Value macro, make_macro(stmt, frame));
    TMODEL_JINJA_CHECK(assign(stmt.target, std::move(macro), frame));
    return Flow::normal;
  }
  Outcome<Flow> run_call_block(const Stmt& stmt, Frame& frame) {
    if (stmt.expr == 0) {
      MacroObject body;  // nothing else can name it
      body.definition = &stmt;
      body.info = &template_.macros[stmt.macro];
      body.closure = &frame;
      TMODEL_JINJA_TRY(const Value text, call_macro(body, {}));
      TMODEL_JINJA_CHECK(emit(text));
      return Flow::normal;
    }
    TMODEL_JINJA_TRY(Value caller, make_macro(stmt, frame));
    const Expr& call = expr(stmt.expr);
    TMODEL_JINJA_TRY(const Value callee, evaluate(call.a, frame));
    TMODEL_JINJA_TRY(Arguments arguments, evaluate_arguments(call.arguments, frame));
    if (arguments.find("caller")) return raise_here(call.at, "'caller' is given twice");
    arguments.named.emplace_back(Value::string("caller"), std::move(caller));
    auto result = call_value(callee, arguments);
    if (!result) {
      locate(*result.error(), call.at);
      return tl::unexpected<Raised>(std::move(result).error());
    }
    TMODEL_JINJA_CHECK(emit_text(*result));
    return Flow::normal;
  }

  /// Fills the frame of a macro's body with its parameters.
  Outcome<void> bind_parameters(const MacroObject& macro, const Arguments& arguments, Frame& frame) {
    const MacroInfo& info = *macro.info;
    const std::size_t count = info.parameters.size();
    std::vector<bool> used(arguments.named.size(), false);
    const auto take_named = [&](std::string_view name) -> const Value* {
      for (std::size_t i = 0; i < used.size(); ++i) {
        if (used[i] || arguments.named[i].first.text() != name) continue;
        used[i] = true;
        return &arguments.named[i].second;
      }
      return nullptr;
    };
    std::vector<const Value*> given(count, nullptr);
    for (std::size_t i = 0; i < count; ++i)
      given[i] = i < arguments.positional.size() ? &arguments.positional[i]
                                                 : take_named(template_.names[info.parameters[i]].text());
    const Value* caller = info.reads_caller && !info.declares_caller ? take_named("caller") : nullptr;
    std::vector<std::pair<Value, Value>> rest;
    for (std::size_t i = 0; i < used.size(); ++i) {
      if (used[i]) continue;
      if (!info.reads_kwargs)
        return raise({"macro '", info.name, "' takes no keyword argument '", arguments.named[i].first.text(), "'"});
      rest.push_back(arguments.named[i]);
    }
    if (arguments.positional.size() > count && !info.reads_varargs)
      return raise({"macro '", info.name, "' takes not more than ", std::to_string(count), " arguments"});
    // The special names go first, so that defaults can read them.
    if (info.reads_caller && !info.declares_caller)
      frame.set(template_.caller_name, caller ? *caller : Value::undefined(Value::string("caller"), false));
    if (info.reads_kwargs) {
      TMODEL_JINJA_TRY(Value kwargs, heap_.dict(std::move(rest)));
      frame.set(template_.kwargs_name, std::move(kwargs));
    }
    if (info.reads_varargs) {
      std::vector<Value> extra(
          arguments.positional.begin() + static_cast<std::ptrdiff_t>(std::min(count, arguments.positional.size())),
          arguments.positional.end());
      TMODEL_JINJA_TRY(Value varargs, heap_.sequence(Kind::tuple, std::move(extra)));
      frame.set(template_.varargs_name, std::move(varargs));
    }
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t from_end = count - i;
      Value value;
      if (given[i]) {
        value = *given[i];
      } else if (from_end <= info.defaults.size()) {
        TMODEL_JINJA_TRY(value, evaluate(info.defaults[info.defaults.size() - from_end], frame));
      } else {
        value = Value::undefined(template_.names[info.parameters[i]], false);
      }
      frame.set(info.parameters[i], std::move(value));
    }
    return {};
  }

  Outcome<Value> call_macro(const MacroObject& macro, const Arguments& arguments) {
    const Deeper deeper(*this);
    Scope scope(*this, *macro.closure, macro.definition->hidden);
    TMODEL_JINJA_CHECK(bind_parameters(macro, arguments, scope.frame()));
    Capture capture(*this);
    TMODEL_JINJA_TRY([[maybe_unused]] const Flow flow, run_body(macro.definition->body, scope.frame()));
    return capture.finish();
  }

  Outcome<Value> call_value(const Value& callee, const Arguments& arguments) {
    switch (callee.kind()) {
      case Kind::undefined:
        return raise_undefined(callee);
      case Kind::macro:
        return call_macro(callee.as<MacroObject>(), arguments);
      case Kind::function:
        return call_global(heap_, static_cast<Global>(callee.as_integer()), arguments, now_);
      case Kind::method: {
        const MethodObject& bound = callee.as_method();
        const auto method = static_cast<Method>(bound.id);
        if (bound.self.is(Kind::loop)) return call_loop_method(bound.self.as<LoopObject>(), method, arguments);
        return call_method(heap_, bound.self, method, arguments);
      }
      default:
        return raise({"'", name_of(callee.kind()), "' object is not callable"});
    }
  }

  // Expressions.

  Outcome<Value> evaluate(ExprId id, Frame& frame) {
    const Deeper deeper(*this);
    const Expr& e = expr(id);
    if (depth_ > limits_.depth) return raise_here(e.at, "the template nests its calls too deeply");
    auto value = evaluate_kind(e, frame);
    if (!value) locate(*value.error(), e.at);
    return value;
  }

  Outcome<Value> evaluate_kind(const Expr& e, Frame& frame) {
    TMODEL_JINJA_CHECK(heap_.step());
    switch (e.kind) {
      case ExprKind::constant:
        return template_.constants[e.index];
      case ExprKind::name:
        return look_up(e.index, frame);
      case ExprKind::captured:
        return captured_;
      case ExprKind::list:
      case ExprKind::tuple:
        return evaluate_sequence(e, frame);
      case ExprKind::dict:
        return evaluate_dict(e, frame);
      case ExprKind::attribute:
        return evaluate_attribute(e, frame);
      case ExprKind::item:
        return evaluate_item(e, frame);
      case ExprKind::call:
        return evaluate_call(e, frame);
      case ExprKind::filter:
        return evaluate_filter(e, frame);
      case ExprKind::test:
        return evaluate_test(e, frame);
      case ExprKind::negative:
      case ExprKind::positive:
      case ExprKind::logical_not:
        return evaluate_unary(e, frame);
      case ExprKind::binary:
        return evaluate_binary(e, frame);
      case ExprKind::concat:
        return evaluate_concat(e, frame);
      case ExprKind::compare:
        return evaluate_compare(e, frame);
      case ExprKind::logical_and:
      case ExprKind::logical_or:
        return evaluate_logical(e, frame);
      case ExprKind::conditional:
        return evaluate_conditional(e, frame);
      default:
        return Value();
    }
  }

  // In evaluate_expressions.hpp.
  Outcome<Value> look_up(NameId name, const Frame& frame);
  Outcome<Value> evaluate_sequence(const Expr& e, Frame& frame);
  Outcome<Value> evaluate_dict(const Expr& e, Frame& frame);
  Outcome<Value> evaluate_attribute(const Expr& e, Frame& frame);
  Outcome<Value> evaluate_item(const Expr& e, Frame& frame);
  Outcome<Arguments> evaluate_arguments(std::uint32_t index, Frame& frame);
  Outcome<Value> evaluate_call(const Expr& e, Frame& frame);
  Outcome<Value> evaluate_filter(const Expr& e, Frame& frame);
  Outcome<Value> evaluate_test(const Expr& e, Frame& frame);
  Outcome<Value> evaluate_unary(const Expr& e, Frame& frame);
  Outcome<Value> evaluate_binary(const Expr& e, Frame& frame);
  Outcome<Value> evaluate_concat(const Expr& e, Frame& frame);
  Outcome<Value> evaluate_compare(const Expr& e, Frame& frame);
  Outcome<Value> evaluate_logical(const Expr& e, Frame& frame);
  Outcome<Value> evaluate_conditional(const Expr& e, Frame& frame);

  const Template& template_;
  const Value& variables_;
  const std::optional<LocalTime>& now_;
  const Limits& limits_;
  Heap heap_;  // before everything that holds values: their charges go back to it
  TextBuilder output_;
  TextBuilder* out_;
  Frame root_;
  Frame* kept_ = nullptr;
  Value captured_;
  int depth_ = 0;
};

}  // namespace tmodel::inline v0::jinja

#include "tmodel/text/jinja/evaluate_expressions.hpp"
