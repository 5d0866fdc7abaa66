#pragma once
// Tokens -> parsed template. Whatever is not implemented is refused here, by name, with line and column.
// Source: Jinja2 3.1 documentation, "Template Designer Documentation"; the grammar is that of its parser.

#include "tmodel/text/jinja/expression_parser.hpp"
#include "tmodel/text/jinja/scopes.hpp"

namespace tmodel::inline v0::jinja {

class Parser : private ExpressionParser {
 public:
  /// Errors: bad_template (syntax), unsupported (a construct of Jinja2 that is not here); where: "line:column".
  static Outcome<Template> parse(std::string_view source) {
    if (source.size() > max_template_bytes)
      return raise({"the template is larger than ", std::to_string(max_template_bytes), " bytes"}, Errc::unsupported);
    Parser parser;
    parser.result_.source = normalise_source(source);
    parser.result_.loop_name = parser.name_id("loop");
    parser.result_.caller_name = parser.name_id("caller");
    parser.result_.varargs_name = parser.name_id("varargs");
    parser.result_.kwargs_name = parser.name_id("kwargs");
    TMODEL_JINJA_TRY(parser.tokens_, Lexer::tokenize(parser.result_.source));
    TMODEL_JINJA_TRY(parser.result_.body, parser.parse_body({}));
    TMODEL_JINJA_CHECK(parser.check_names());
    ScopeAnalysis(parser.result_).run();
    return std::move(parser.result_);
  }

 private:
  using Ends = std::initializer_list<std::string_view>;

  /// Statements up to one of the tags `ends`, at whose name the parser then stands; to the end if there are none.
  Outcome<std::vector<Stmt>> parse_body(Ends ends) {
    const Nesting nesting(*this);
    if (!nesting.ok()) return too_nested();
    std::vector<Stmt> body;
    for (;;) {
      const Token token = peek();
      Stmt stmt;
      stmt.at = token.begin;
      switch (token.kind) {
        case TokenKind::end:
          if (ends.size() == 0) return body;
          return error(token, {"the template ends where '", *(ends.end() - 1), "' is expected"});
        case TokenKind::data:
          next();
          stmt.text = {token.begin, token.end};
          body.push_back(std::move(stmt));
          break;
        case TokenKind::variable_begin: {
          next();
          stmt.kind = StmtKind::print;
          TMODEL_JINJA_TRY(stmt.expr, parse_tuple(true));
          if (peek().kind != TokenKind::variable_end) return error(peek(), "expected '}}'");
          next();
          body.push_back(std::move(stmt));
          break;
        }
        default: {
          next();
          for (const std::string_view end : ends)
            if (at_name(end)) return body;
          TMODEL_JINJA_CHECK(parse_statement(body));
          TMODEL_JINJA_CHECK(expect_block_end());
        }
      }
    }
  }

  Outcome<void> expect_block_end() {
    if (peek().kind != TokenKind::block_end) return error(peek(), "expected '%}'");
    next();
    return {};
  }

  /// The body of a block whose opening tag ends here, up to the tag `end`, which is consumed.
  Outcome<std::vector<Stmt>> parse_block(Ends ends) {
    if (at_symbol(":")) next();
    TMODEL_JINJA_CHECK(expect_block_end());
    TMODEL_JINJA_TRY(auto body, parse_body(ends));
    return body;
  }
  Outcome<std::vector<Stmt>> parse_closed_block(std::string_view end) {
    TMODEL_JINJA_TRY(auto body, parse_block({end}));
    next();
    return body;
  }

  Outcome<void> parse_statement(std::vector<Stmt>& body) {
    const Token token = peek();
    if (token.kind != TokenKind::name) return error(token, "expected the name of a tag");
    next();
    const std::string_view name = text(token);
    Stmt stmt;
    stmt.at = token.begin;
    if (name == "if") {
      TMODEL_JINJA_CHECK(parse_if(stmt));
    } else if (name == "for") {
      TMODEL_JINJA_CHECK(parse_for(stmt));
    } else if (name == "set") {
      TMODEL_JINJA_CHECK(parse_set(stmt));
    } else if (name == "macro") {
      TMODEL_JINJA_CHECK(parse_macro(stmt));
    } else if (name == "call") {
      TMODEL_JINJA_CHECK(parse_call_block(stmt));
    } else if (name == "filter") {
      stmt.kind = StmtKind::filter_block;
      TMODEL_JINJA_TRY(const ExprId captured, add(ExprKind::captured, token));
      TMODEL_JINJA_TRY(stmt.expr, parse_one_filter(captured));
      TMODEL_JINJA_TRY(stmt.expr, parse_filters(stmt.expr));
      TMODEL_JINJA_TRY(stmt.body, parse_closed_block("endfilter"));
    } else if (name == "with") {
      TMODEL_JINJA_CHECK(parse_with(stmt));
    } else if (name == "generation") {
      stmt.kind = StmtKind::call_block;
      MacroInfo info;
      info.name = name;
      TMODEL_JINJA_CHECK(parse_macro_body(stmt, std::move(info), token, "endgeneration"));
    } else if (name == "print") {
      while (peek().kind != TokenKind::block_end) {
        if (stmt.kind == StmtKind::print) {
          TMODEL_JINJA_CHECK(expect_symbol(","));
          body.push_back(stmt);
        }
        stmt.kind = StmtKind::print;
        TMODEL_JINJA_TRY(stmt.expr, parse_expression());
      }
      if (stmt.kind != StmtKind::print) return {};
    } else if (name == "break" || name == "continue") {
      if (loop_depth_ == 0) return error(token, {"'", name, "' outside of a loop"});
      stmt.kind = name == "break" ? StmtKind::break_loop : StmtKind::continue_loop;
    } else {
      constexpr std::string_view refused[] = {"autoescape", "block",  "debug",   "do",   "extends",
                                              "from",       "import", "include", "trans"};
      const bool known = std::find(std::begin(refused), std::end(refused), name) != std::end(refused);
      return error(token, {"tag '", name, known ? "' is not supported" : "' is unknown here"},
                   known ? Errc::unsupported : Errc::bad_template);
    }
    body.push_back(std::move(stmt));
    return {};
  }

  Outcome<void> parse_if(Stmt& stmt) {
    stmt.kind = StmtKind::branches;
    for (;;) {
      Stmt branch;
      branch.kind = StmtKind::branch;
      branch.at = peek().begin;
      TMODEL_JINJA_TRY(branch.expr, parse_tuple(false));
      TMODEL_JINJA_TRY(branch.body, parse_block({"elif", "else", "endif"}));
      stmt.body.push_back(std::move(branch));
      const std::string_view tag = text(next());
      if (tag == "elif") continue;
      if (tag == "else") {
        Stmt otherwise;
        otherwise.kind = StmtKind::branch;
        TMODEL_JINJA_TRY(otherwise.body, parse_closed_block("endif"));
        stmt.body.push_back(std::move(otherwise));
      }
      return {};
    }
  }

  Outcome<void> parse_for(Stmt& stmt) {
    stmt.kind = StmtKind::loop;
    ++for_depth_;
    TMODEL_JINJA_TRY(stmt.target, parse_target(false));
    TMODEL_JINJA_CHECK(check_loop_target(stmt.target));
    if (!at_name("in")) return error(peek(), "expected 'in'");
    next();
    TMODEL_JINJA_TRY(stmt.expr, parse_tuple(false));
    if (at_name("if")) {
      next();
      TMODEL_JINJA_TRY(stmt.test, parse_expression());
    }
    if (at_name("recursive")) return error(peek(), "recursive loops are not supported", Errc::unsupported);
    ++loop_depth_;
    TMODEL_JINJA_TRY(stmt.body, parse_block({"endfor", "else"}));
    --loop_depth_;
    if (text(next()) != "endfor") {
      TMODEL_JINJA_TRY(stmt.otherwise, parse_closed_block("endfor"));
    }
    --for_depth_;
    return {};
  }

  /// Anywhere inside a for statement, `loop` is no name to assign to.
  Outcome<void> check_loop_target(ExprId target) {
    if (for_depth_ == 0) return {};
    const Expr& expr = result_.expressions[target];
    if (expr.kind == ExprKind::name && name_text(expr.index) == "loop")
      return error_at(expr.at, {"can't assign to the special variable 'loop'"});
    for (const ExprId item : expr.items) TMODEL_JINJA_CHECK(check_loop_target(item));
    return {};
  }

  Outcome<void> parse_set(Stmt& stmt) {
    stmt.kind = StmtKind::set;
    TMODEL_JINJA_TRY(stmt.target, parse_target(true));
    TMODEL_JINJA_CHECK(check_loop_target(stmt.target));
    if (at_symbol("=")) {
      next();
      TMODEL_JINJA_TRY(stmt.expr, parse_tuple(true));
      return {};
    }
    stmt.kind = StmtKind::set_block;
    if (at_symbol("|")) {
      TMODEL_JINJA_TRY(const ExprId captured, add(ExprKind::captured, peek()));
      TMODEL_JINJA_TRY(stmt.expr, parse_filters(captured));
    }
    TMODEL_JINJA_TRY(stmt.body, parse_closed_block("endset"));
    return {};
  }

  Outcome<void> parse_with(Stmt& stmt) {
    stmt.kind = StmtKind::with;
    while (peek().kind != TokenKind::block_end) {
      if (!stmt.bindings.empty()) TMODEL_JINJA_CHECK(expect_symbol(","));
      TMODEL_JINJA_TRY(const ExprId target, parse_target(false));
      TMODEL_JINJA_CHECK(expect_symbol("="));
      TMODEL_JINJA_TRY(const ExprId value, parse_expression());
      stmt.bindings.emplace_back(target, value);
    }
    TMODEL_JINJA_TRY(stmt.body, parse_closed_block("endwith"));
    return {};
  }

  /// (a, b=1): parameters of a macro or of the body of a call block.
  Outcome<void> parse_signature(MacroInfo& info) {
    TMODEL_JINJA_CHECK(expect_symbol("("));
    while (!at_symbol(")")) {
      if (!info.parameters.empty()) TMODEL_JINJA_CHECK(expect_symbol(","));
      const Token token = next();
      if (token.kind != TokenKind::name || is_constant_name(text(token))) return error(token, "expected a parameter");
      const NameId parameter = name_id(text(token));
      if (std::find(info.parameters.begin(), info.parameters.end(), parameter) != info.parameters.end())
        return error(token, "this parameter stands twice");
      if (info.parameters.size() == max_template_parameters)
        return error(token, "too many parameters", Errc::unsupported);
      stored_names_.insert(parameter);
      info.parameters.push_back(parameter);
      info.declares_caller = info.declares_caller || text(token) == "caller";
      if (at_symbol("=")) {
        next();
        TMODEL_JINJA_TRY(const ExprId value, parse_expression());
        info.defaults.push_back(value);
      } else if (!info.defaults.empty()) {
        return error(token, "non-default argument follows default argument");
      }
    }
    next();
    return {};
  }

  /// The body of a macro: which special names it reads decides what it accepts.
  Outcome<void> parse_macro_body(Stmt& stmt, MacroInfo info, const Token& token, std::string_view end) {
    const int outer_loops = std::exchange(loop_depth_, 0);
    const SpecialNames outer = std::exchange(special_names_, {});
    TMODEL_JINJA_TRY(stmt.body, parse_closed_block(end));
    loop_depth_ = outer_loops;
    const auto declares = [&](std::string_view name) {
      return std::any_of(info.parameters.begin(), info.parameters.end(),
                         [&](NameId id) { return name_text(id) == name; });
    };
    info.reads_caller = special_names_.caller;
    info.reads_varargs = special_names_.varargs && !declares("varargs");
    info.reads_kwargs = special_names_.kwargs && !declares("kwargs");
    if (info.reads_caller && info.declares_caller) {
      const auto at = std::find_if(info.parameters.begin(), info.parameters.end(),
                                   [&](NameId id) { return name_text(id) == "caller"; });
      const auto from_end = static_cast<std::size_t>(info.parameters.end() - at);
      if (from_end > info.defaults.size())
        return error(token, "the special parameter 'caller' must be omitted or be given a default");
    }
    special_names_.caller |= outer.caller;
    special_names_.varargs |= outer.varargs;
    special_names_.kwargs |= outer.kwargs;
    stmt.macro = static_cast<std::uint32_t>(result_.macros.size());
    result_.macros.push_back(std::move(info));
    return {};
  }

  Outcome<void> parse_macro(Stmt& stmt) {
    stmt.kind = StmtKind::macro;
    const Token token = peek();
    TMODEL_JINJA_TRY(stmt.target, parse_name_target());
    MacroInfo info;
    info.name = text(token);
    TMODEL_JINJA_CHECK(parse_signature(info));
    return parse_macro_body(stmt, std::move(info), token, "endmacro");
  }

  Outcome<void> parse_call_block(Stmt& stmt) {
    stmt.kind = StmtKind::call_block;
    const Token token = peek();
    MacroInfo info;
    info.name = "caller";
    if (at_symbol("(")) TMODEL_JINJA_CHECK(parse_signature(info));
    TMODEL_JINJA_TRY(stmt.expr, parse_expression());
    if (result_.expressions[stmt.expr].kind != ExprKind::call) return error(token, "expected a call");
    return parse_macro_body(stmt, std::move(info), token, "endcall");
  }

  /// Names that Jinja2 defines and this does not: an error unless the template defines them itself.
  Outcome<void> check_names() {
    for (const auto& [name, at] : loaded_names_) {
      constexpr std::string_view refused[] = {"self", "lipsum", "cycler", "joiner"};
      if (stored_names_.count(name) != 0) continue;
      if (std::find(std::begin(refused), std::end(refused), name_text(name)) != std::end(refused))
        return error_at(at, {"'", name_text(name), "' is not supported"}, Errc::unsupported);
    }
    return {};
  }

  int loop_depth_ = 0;  // of for statements that break and continue can reach
  int for_depth_ = 0;   // of for statements, through macros and other blocks too
};

}  // namespace tmodel::inline v0::jinja
