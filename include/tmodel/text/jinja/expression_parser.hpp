#pragma once
// Tokens -> expressions: the lower half of the parser.
// Source: Jinja2 3.1 documentation, "Expressions"; Python 3 language reference for string and number literals.

#include <unordered_map>
#include <unordered_set>

#include "tmodel/text/jinja/ast.hpp"
#include "tmodel/text/jinja/known_names.hpp"
#include "tmodel/text/jinja/literals.hpp"

namespace tmodel::inline v0::jinja {

/// Deepest nesting of brackets and blocks, and of operators in one expression: it bounds the stack.
inline constexpr int max_template_nesting = 100;
inline constexpr std::uint16_t max_expression_depth = 200;
/// Most keyword arguments of a call, and most parameters of a macro: both are searched in line.
inline constexpr std::size_t max_template_parameters = 255;

class ExpressionParser {
 protected:
  struct SpecialNames {
    bool caller = false, varargs = false, kwargs = false;
  };

  /// One level of recursion of the parser.
  class Nesting {
   public:
    explicit Nesting(ExpressionParser& parser) noexcept : parser_(parser) { ++parser_.nesting_; }
    Nesting(const Nesting&) = delete;
    Nesting& operator=(const Nesting&) = delete;
    ~Nesting() { --parser_.nesting_; }
    bool ok() const noexcept { return parser_.nesting_ <= max_template_nesting; }

   private:
    ExpressionParser& parser_;
  };

  // Tokens.
  const Token& peek(std::size_t ahead = 0) const noexcept { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }
  Token next() noexcept {
    const Token token = peek();
    if (at_ + 1 < tokens_.size()) ++at_;
    return token;
  }
  std::string_view text(const Token& token) const noexcept {
    return std::string_view(result_.source).substr(token.begin, token.end - token.begin);
  }
  bool is_symbol(const Token& token, std::string_view symbol) const noexcept {
    return token.kind == TokenKind::symbol && text(token) == symbol;
  }
  bool at_symbol(std::string_view symbol) const noexcept { return is_symbol(peek(), symbol); }
  bool at_name(std::string_view name) const noexcept { return peek().kind == TokenKind::name && text(peek()) == name; }
  Outcome<void> expect_symbol(std::string_view symbol) {
    if (!at_symbol(symbol)) return error(peek(), {"expected '", symbol, "'"});
    next();
    return {};
  }
  using Parts = std::initializer_list<std::string_view>;
  tl::unexpected<Raised> error_at(std::size_t at, Parts what, Errc code = Errc::bad_template) const {
    return raise_at(result_.source, at, what, code);
  }
  tl::unexpected<Raised> error(const Token& token, Parts what, Errc code = Errc::bad_template) const {
    return error_at(token.begin, what, code);
  }
  tl::unexpected<Raised> error(const Token& token, std::string_view what, Errc code = Errc::bad_template) const {
    return error_at(token.begin, {what}, code);
  }
  tl::unexpected<Raised> too_nested() const { return error(peek(), "too deeply nested", Errc::unsupported); }

  // Nodes.
  static bool is_constant_name(std::string_view name) noexcept {
    return name == "true" || name == "false" || name == "none" || name == "True" || name == "False" || name == "None";
  }
  NameId name_id(std::string_view name) {
    const auto [it, is_new] = name_ids_.try_emplace(std::string(name), static_cast<NameId>(result_.names.size()));
    if (is_new) result_.names.push_back(Value::string(name));
    return it->second;
  }
  std::string_view name_text(NameId name) const noexcept { return result_.names[name].text(); }
  Expr node(ExprKind kind, const Token& token) const {
    Expr expr;
    expr.kind = kind;
    expr.at = token.begin;
    return expr;
  }
  /// Adds a node whose children are set. Errors: too deep.
  Outcome<ExprId> add(Expr expr) {
    std::uint16_t below = 0;
    const auto look = [&](ExprId id) { below = std::max(below, result_.expressions[id].depth); };
    for (const ExprId id : {expr.a, expr.b, expr.c}) look(id);
    for (const ExprId id : expr.items) look(id);
    const CallArguments& call = result_.calls[expr.arguments];
    for (const ExprId id : call.positional) look(id);
    for (const auto& argument : call.named) look(argument.second);
    for (const ExprId id : {call.star, call.double_star}) look(id);
    expr.depth = static_cast<std::uint16_t>(below + 1);
    if (expr.depth > max_expression_depth)
      return error_at(expr.at, {"this expression nests too deeply"}, Errc::unsupported);
    result_.expressions.push_back(std::move(expr));
    return static_cast<ExprId>(result_.expressions.size() - 1);
  }
  Outcome<ExprId> add(ExprKind kind, const Token& token) { return add(node(kind, token)); }
  Outcome<ExprId> add_constant(const Token& token, Value value) {
    Expr expr = node(ExprKind::constant, token);
    expr.index = static_cast<std::uint32_t>(result_.constants.size());
    result_.constants.push_back(std::move(value));
    return add(std::move(expr));
  }

  // Grammar, from loose to tight.
  Outcome<ExprId> parse_expression(bool with_condition = true) {
    const Nesting nesting(*this);
    if (!nesting.ok()) return too_nested();
    TMODEL_JINJA_TRY(ExprId value, parse_or());
    while (with_condition && at_name("if")) {
      Expr expr = node(ExprKind::conditional, next());
      expr.b = value;
      TMODEL_JINJA_TRY(expr.a, parse_or());
      if (at_name("else")) {
        next();
        TMODEL_JINJA_TRY(expr.c, parse_expression());
      }
      TMODEL_JINJA_TRY(value, add(std::move(expr)));
    }
    return value;
  }

  /// One expression, or a tuple of several parted by commas.
  Outcome<ExprId> parse_tuple(bool with_condition, bool may_be_empty = false) {
    Expr tuple = node(ExprKind::tuple, peek());
    bool is_tuple = false;
    while (!ends_tuple()) {
      TMODEL_JINJA_TRY(const ExprId item, parse_expression(with_condition));
      tuple.items.push_back(item);
      if (!at_symbol(",")) break;
      is_tuple = true;
      next();
    }
    if (!is_tuple && !tuple.items.empty()) return tuple.items[0];
    if (!is_tuple && !may_be_empty) return error(peek(), "expected an expression");
    return add(std::move(tuple));
  }

  /// What can be assigned to: names, tuples of them, and (in set) attributes of namespaces.
  Outcome<ExprId> parse_target(bool with_namespace) {
    Expr tuple = node(ExprKind::tuple, peek());
    bool is_tuple = false;
    while (!ends_tuple()) {
      TMODEL_JINJA_TRY(const ExprId item, parse_one_target(with_namespace));
      tuple.items.push_back(item);
      if (!at_symbol(",")) break;
      is_tuple = true;
      next();
    }
    if (!is_tuple && tuple.items.empty()) return error(peek(), "expected a name to assign to");
    if (!is_tuple) return tuple.items[0];
    return add(std::move(tuple));
  }
  Outcome<ExprId> parse_name_target() {
    const Token token = next();
    if (token.kind != TokenKind::name || is_constant_name(text(token))) return error(token, "expected a name");
    Expr expr = node(ExprKind::name, token);
    expr.index = name_id(text(token));
    stored_names_.insert(expr.index);
    return add(std::move(expr));
  }

  /// |filter|filter … behind value.
  Outcome<ExprId> parse_filters(ExprId value) {
    while (at_symbol("|")) {
      next();
      TMODEL_JINJA_TRY(value, parse_one_filter(value));
    }
    return value;
  }
  Outcome<ExprId> parse_one_filter(ExprId value) {
    Expr expr = node(ExprKind::filter, peek());
    expr.a = value;
    TMODEL_JINJA_TRY(const std::string name, parse_dotted_name());
    TMODEL_JINJA_TRY(const int filter, known_filter(result_.source, name, expr.at));
    expr.index = static_cast<std::uint32_t>(filter);
    if (at_symbol("(")) {
      TMODEL_JINJA_TRY(expr.arguments, parse_arguments());
    }
    TMODEL_JINJA_CHECK(check_inner_name(name, result_.calls[expr.arguments]));
    return add(std::move(expr));
  }

 private:
  bool ends_tuple() const noexcept {
    return peek().kind == TokenKind::variable_end || peek().kind == TokenKind::block_end || at_symbol(")");
  }

  Outcome<ExprId> parse_one_target(bool with_namespace) {
    const Nesting nesting(*this);
    if (!nesting.ok()) return too_nested();
    if (at_symbol("(")) {
      next();
      TMODEL_JINJA_TRY(const ExprId inner, parse_target(false));
      TMODEL_JINJA_CHECK(expect_symbol(")"));
      return inner;
    }
    const Token token = peek();
    if (with_namespace && is_symbol(peek(1), ".")) {
      if (token.kind != TokenKind::name || is_constant_name(text(token))) return error(token, "expected a name");
      Expr object = node(ExprKind::name, token);
      object.index = load_name(token);
      next();
      next();
      Expr expr = node(ExprKind::attribute, token);
      if (peek().kind != TokenKind::name) return error(peek(), "expected the name of an attribute");
      expr.index = name_id(text(next()));
      TMODEL_JINJA_TRY(expr.a, add(std::move(object)));
      return add(std::move(expr));
    }
    return parse_name_target();
  }

  NameId load_name(const Token& token) {
    const std::string_view name = text(token);
    special_names_.caller = special_names_.caller || name == "caller";
    special_names_.varargs = special_names_.varargs || name == "varargs";
    special_names_.kwargs = special_names_.kwargs || name == "kwargs";
    const NameId id = name_id(name);
    loaded_names_.try_emplace(id, token.begin);
    return id;
  }

  Outcome<ExprId> add_binary(ExprKind kind, const Token& token, ExprId a, ExprId b, Operator op = {}) {
    Expr expr = node(kind, token);
    expr.op = op;
    expr.a = a;
    expr.b = b;
    return add(std::move(expr));
  }

  Outcome<ExprId> parse_or() {
    TMODEL_JINJA_TRY(ExprId left, parse_and());
    while (at_name("or")) {
      const Token token = next();
      TMODEL_JINJA_TRY(const ExprId right, parse_and());
      TMODEL_JINJA_TRY(left, add_binary(ExprKind::logical_or, token, left, right));
    }
    return left;
  }
  Outcome<ExprId> parse_and() {
    TMODEL_JINJA_TRY(ExprId left, parse_not());
    while (at_name("and")) {
      const Token token = next();
      TMODEL_JINJA_TRY(const ExprId right, parse_not());
      TMODEL_JINJA_TRY(left, add_binary(ExprKind::logical_and, token, left, right));
    }
    return left;
  }
  Outcome<ExprId> parse_not() {
    std::vector<Token> nots;
    while (at_name("not")) nots.push_back(next());
    TMODEL_JINJA_TRY(ExprId value, parse_compare());
    for (; !nots.empty(); nots.pop_back()) {
      Expr expr = node(ExprKind::logical_not, nots.back());
      expr.a = value;
      TMODEL_JINJA_TRY(value, add(std::move(expr)));
    }
    return value;
  }

  std::optional<Operator> comparison() const noexcept {
    constexpr std::pair<std::string_view, Operator> symbols[] = {
        {"==", Operator::equal},      {"!=", Operator::not_equal}, {"<", Operator::less},
        {"<=", Operator::less_equal}, {">", Operator::greater},    {">=", Operator::greater_equal}};
    for (const auto& [symbol, op] : symbols)
      if (at_symbol(symbol)) return op;
    if (at_name("in")) return Operator::in;
    if (at_name("not") && peek(1).kind == TokenKind::name && text(peek(1)) == "in") return Operator::not_in;
    return std::nullopt;
  }
  Outcome<ExprId> parse_compare() {
    TMODEL_JINJA_TRY(const ExprId first, parse_sum());
    if (!comparison()) return first;
    Expr expr = node(ExprKind::compare, peek());
    expr.a = first;
    while (const auto op = comparison()) {
      Expr operand = node(ExprKind::operand, next());
      if (*op == Operator::not_in) next();
      operand.op = *op;
      TMODEL_JINJA_TRY(operand.a, parse_sum());
      TMODEL_JINJA_TRY(const ExprId id, add(std::move(operand)));
      expr.items.push_back(id);
    }
    return add(std::move(expr));
  }
  Outcome<ExprId> parse_sum() {
    TMODEL_JINJA_TRY(ExprId left, parse_concat());
    while (at_symbol("+") || at_symbol("-")) {
      const Operator op = at_symbol("+") ? Operator::add : Operator::subtract;
      const Token token = next();
      TMODEL_JINJA_TRY(const ExprId right, parse_concat());
      TMODEL_JINJA_TRY(left, add_binary(ExprKind::binary, token, left, right, op));
    }
    return left;
  }
  Outcome<ExprId> parse_concat() {
    TMODEL_JINJA_TRY(const ExprId first, parse_product());
    if (!at_symbol("~")) return first;
    Expr expr = node(ExprKind::concat, peek());
    expr.items.push_back(first);
    while (at_symbol("~")) {
      next();
      TMODEL_JINJA_TRY(const ExprId item, parse_product());
      expr.items.push_back(item);
    }
    return add(std::move(expr));
  }
  Outcome<ExprId> parse_product() {
    TMODEL_JINJA_TRY(ExprId left, parse_power());
    for (;;) {
      Operator op{};
      if (at_symbol("*"))
        op = Operator::multiply;
      else if (at_symbol("/"))
        op = Operator::divide;
      else if (at_symbol("//"))
        op = Operator::floor_divide;
      else if (at_symbol("%"))
        op = Operator::modulo;
      else
        return left;
      const Token token = next();
      TMODEL_JINJA_TRY(const ExprId right, parse_power());
      TMODEL_JINJA_TRY(left, add_binary(ExprKind::binary, token, left, right, op));
    }
  }
  Outcome<ExprId> parse_power() {  // groups to the left, unlike Python's
    TMODEL_JINJA_TRY(ExprId left, parse_unary(true));
    while (at_symbol("**")) {
      const Token token = next();
      if (result_.expressions[left].kind == ExprKind::negative)  // Jinja2 sometimes takes it for -(a ** b)
        return error(token, "a power of a negated value is not supported", Errc::unsupported);
      TMODEL_JINJA_TRY(const ExprId right, parse_unary(true));
      TMODEL_JINJA_TRY(left, add_binary(ExprKind::binary, token, left, right, Operator::power));
    }
    return left;
  }

  Outcome<ExprId> parse_unary(bool with_filter) {
    std::vector<Token> signs;
    while (at_symbol("-") || at_symbol("+")) signs.push_back(next());
    TMODEL_JINJA_TRY(ExprId value, parse_primary());
    TMODEL_JINJA_TRY(value, parse_postfix(value));
    for (; !signs.empty(); signs.pop_back()) {
      Expr expr = node(text(signs.back()) == "-" ? ExprKind::negative : ExprKind::positive, signs.back());
      expr.a = value;
      TMODEL_JINJA_TRY(value, add(std::move(expr)));
    }
    while (with_filter) {
      if (at_symbol("|")) {
        TMODEL_JINJA_TRY(value, parse_filters(value));
      } else if (at_name("is")) {
        TMODEL_JINJA_TRY(value, parse_test(value));
      } else if (at_symbol("(")) {
        TMODEL_JINJA_TRY(value, parse_call(value));
      } else {
        break;
      }
    }
    return value;
  }

  Outcome<ExprId> parse_primary() {
    const Token token = next();
    const std::string_view word = text(token);
    switch (token.kind) {
      case TokenKind::name: {
        if (is_constant_name(word)) {
          const bool is_none = word == "none" || word == "None";
          return add_constant(token, is_none ? Value::none() : Value::boolean(word == "true" || word == "True"));
        }
        Expr expr = node(ExprKind::name, token);
        expr.index = load_name(token);
        return add(std::move(expr));
      }
      case TokenKind::string: {
        TMODEL_JINJA_TRY(std::string value, string_literal(result_.source, token));
        while (peek().kind == TokenKind::string) {
          TMODEL_JINJA_TRY(const std::string more, string_literal(result_.source, next()));
          value += more;
        }
        return add_constant(token, Value::string(value));
      }
      case TokenKind::integer:
      case TokenKind::real:
        return parse_number(token);
      case TokenKind::symbol:
        if (word == "(") {
          TMODEL_JINJA_TRY(const ExprId inner, parse_tuple(true, true));
          TMODEL_JINJA_CHECK(expect_symbol(")"));
          return inner;
        }
        if (word == "[") return parse_list(token);
        if (word == "{") return parse_dict(token);
        break;
      default:
        break;
    }
    return error(token, token.kind == TokenKind::end ? "the template ends inside an expression"
                                                     : "unexpected '" + printable(word) + "'");
  }
  Outcome<ExprId> parse_number(const Token& token) {
    TMODEL_JINJA_TRY(Value value, number_literal(result_.source, token));
    return add_constant(token, std::move(value));
  }
  Outcome<ExprId> parse_list(const Token& token) {
    Expr expr = node(ExprKind::list, token);
    while (!at_symbol("]")) {
      if (!expr.items.empty()) TMODEL_JINJA_CHECK(expect_symbol(","));
      if (at_symbol("]")) break;
      TMODEL_JINJA_TRY(const ExprId item, parse_expression());
      expr.items.push_back(item);
    }
    next();
    return add(std::move(expr));
  }
  Outcome<ExprId> parse_dict(const Token& token) {
    Expr expr = node(ExprKind::dict, token);
    while (!at_symbol("}")) {
      if (!expr.items.empty()) TMODEL_JINJA_CHECK(expect_symbol(","));
      if (at_symbol("}")) break;
      TMODEL_JINJA_TRY(const ExprId key, parse_expression());
      TMODEL_JINJA_CHECK(expect_symbol(":"));
      TMODEL_JINJA_TRY(const ExprId value, parse_expression());
      expr.items.push_back(key);
      expr.items.push_back(value);
    }
    next();
    return add(std::move(expr));
  }

  Outcome<ExprId> parse_postfix(ExprId value) {
    for (;;) {
      if (at_symbol(".")) {
        TMODEL_JINJA_TRY(value, parse_attribute(value));
      } else if (at_symbol("[")) {
        TMODEL_JINJA_TRY(value, parse_subscript(value));
      } else if (at_symbol("(")) {
        TMODEL_JINJA_TRY(value, parse_call(value));
      } else {
        return value;
      }
    }
  }
  Outcome<ExprId> parse_attribute(ExprId value) {
    const Token dot = next(), token = next();
    if (token.kind == TokenKind::integer) {  // a.0 is a[0]
      TMODEL_JINJA_TRY(const ExprId index, parse_number(token));
      return add_binary(ExprKind::item, dot, value, index);
    }
    if (token.kind != TokenKind::name) return error(token, "expected a name or a number");
    Expr expr = node(ExprKind::attribute, token);
    expr.a = value;
    expr.index = name_id(text(token));
    return add(std::move(expr));
  }
  Outcome<ExprId> parse_subscript(ExprId value) {
    const Token token = next();
    Expr slice = node(ExprKind::slice, token);
    bool is_slice = false;
    ExprId* const parts[] = {&slice.a, &slice.b, &slice.c};
    for (std::size_t i = 0; i < 3; ++i) {
      if (!at_symbol(":") && !at_symbol("]") && !at_symbol(",")) {
        TMODEL_JINJA_TRY(*parts[i], parse_expression());
      }
      if (!at_symbol(":") || i == 2) break;
      is_slice = true;
      next();
    }
    if (at_symbol(",")) return error(peek(), "subscripts with commas are not supported", Errc::unsupported);
    TMODEL_JINJA_CHECK(expect_symbol("]"));
    if (!is_slice && slice.a == 0) return error(token, "an empty subscript is not supported", Errc::unsupported);
    ExprId index = slice.a;
    if (is_slice) {
      TMODEL_JINJA_TRY(index, add(std::move(slice)));
    }
    return add_binary(ExprKind::item, token, value, index);
  }

  Outcome<std::uint32_t> parse_arguments() {
    const Token open = next();
    CallArguments call;
    bool first = true;
    while (!at_symbol(")")) {
      if (!std::exchange(first, false)) {
        TMODEL_JINJA_CHECK(expect_symbol(","));
        if (at_symbol(")")) break;
      }
      const bool star = at_symbol("*"), double_star = at_symbol("**");
      const bool named = peek().kind == TokenKind::name && is_symbol(peek(1), "=");
      if (call.double_star != 0 || (call.star != 0 && !named && !double_star) ||
          (!call.named.empty() && !named && !star && !double_star))
        return error(open, "invalid order of the arguments of this call");
      if (star || double_star) {
        next();
        TMODEL_JINJA_TRY((star ? call.star : call.double_star), parse_expression());
      } else if (named) {
        const Token token = next();
        next();
        const NameId name = name_id(text(token));
        for (const auto& argument : call.named)
          if (argument.first == name) return error(token, "this argument stands twice");
        if (call.named.size() == max_template_parameters) return error(token, "too many arguments", Errc::unsupported);
        TMODEL_JINJA_TRY(const ExprId value, parse_expression());
        call.named.emplace_back(name, value);
      } else {
        TMODEL_JINJA_TRY(const ExprId value, parse_expression());
        call.positional.push_back(value);
      }
    }
    next();
    result_.calls.push_back(std::move(call));
    return static_cast<std::uint32_t>(result_.calls.size() - 1);
  }
  Outcome<ExprId> parse_call(ExprId callee) {
    Expr expr = node(ExprKind::call, peek());
    expr.a = callee;
    const Expr& target = result_.expressions[callee];
    if (target.kind == ExprKind::attribute && is_refused_method(name_text(target.index)))
      return error_at(target.at, {"method '", name_text(target.index), "' is not supported"}, Errc::unsupported);
    TMODEL_JINJA_TRY(expr.arguments, parse_arguments());
    return add(std::move(expr));
  }
  Outcome<std::string> parse_dotted_name() {
    std::string name;
    for (;;) {
      const Token token = next();
      if (token.kind != TokenKind::name) return error(token, "expected a name");
      name += text(token);
      if (!at_symbol(".")) return name;
      next();
      name += '.';
    }
  }

  /// Names of filters and tests that map, select and their like are given as literals are checked here too.
  Outcome<void> check_inner_name(std::string_view filter, const CallArguments& call) const {
    const bool maps = filter == "map", by_attribute = filter == "selectattr" || filter == "rejectattr";
    if (!maps && !by_attribute && filter != "select" && filter != "reject") return {};
    const std::size_t place = by_attribute ? 1 : 0;
    if (call.positional.size() <= place) return {};
    const Expr& expr = result_.expressions[call.positional[place]];
    if (expr.kind != ExprKind::constant || !result_.constants[expr.index].is_string()) return {};
    const std::string_view name = result_.constants[expr.index].text();
    TMODEL_JINJA_TRY([[maybe_unused]] const int id,
                     (maps ? known_filter(result_.source, name, expr.at) : known_test(result_.source, name, expr.at)));
    return {};
  }

  Outcome<ExprId> parse_test(ExprId value) {
    next();
    Expr expr = node(ExprKind::test, peek());
    expr.a = value;
    if (at_name("not")) {
      next();
      expr.negated = true;
    }
    TMODEL_JINJA_TRY(const std::string name, parse_dotted_name());
    TMODEL_JINJA_TRY(const int test, known_test(result_.source, name, expr.at));
    expr.index = static_cast<std::uint32_t>(test);
    const Token token = peek();
    if (at_symbol("(")) {
      TMODEL_JINJA_TRY(expr.arguments, parse_arguments());
    } else if (token.kind == TokenKind::string || token.kind == TokenKind::integer || token.kind == TokenKind::real ||
               at_symbol("[") || at_symbol("{") ||
               (token.kind == TokenKind::name && !at_name("else") && !at_name("or") && !at_name("and"))) {
      if (at_name("is")) return error(token, "tests cannot be chained with 'is'");
      CallArguments call;
      TMODEL_JINJA_TRY(ExprId argument, parse_primary());
      TMODEL_JINJA_TRY(argument, parse_postfix(argument));
      call.positional.push_back(argument);
      result_.calls.push_back(std::move(call));
      expr.arguments = static_cast<std::uint32_t>(result_.calls.size() - 1);
    }
    return add(std::move(expr));
  }

 protected:
  Template result_;
  std::vector<Token> tokens_;
  SpecialNames special_names_;
  std::unordered_set<NameId> stored_names_;
  std::unordered_map<NameId, std::uint32_t> loaded_names_;  // and where first

 private:
  std::unordered_map<std::string, NameId> name_ids_;
  std::size_t at_ = 0;
  int nesting_ = 0;
};

}  // namespace tmodel::inline v0::jinja
