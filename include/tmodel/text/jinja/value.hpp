#pragma once
// Values of the template language: shared, immutable apart from namespaces, generators and loops.
// Source: the Python types that Jinja2 templates see (Jinja2 3.1 documentation; Python 3 data model).

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tmodel/text/jinja/text.hpp"

namespace tmodel::inline v0::jinja {

enum class Kind : std::uint8_t {
  undefined,  ///< prints as "", false, empty; an error to call, index or compute with
  none,
  boolean,
  integer,  ///< int64; where Python's unbounded int would be larger, an error
  real,     ///< Python's float
  string,
  list,
  tuple,
  range,
  keys_view,  ///< dict.keys(), .values() and .items(): sized, not indexable, not JSON
  values_view,
  items_view,
  dict,
  generator,  ///< what map, select and their like return: can be walked once
  name_space,
  loop,
  macro,
  function,  ///< a global such as range
  method,    ///< a method bound to its object
};

constexpr bool is_sequence_kind(Kind kind) noexcept { return kind >= Kind::list && kind <= Kind::items_view; }

/// Name of the Python type, for messages.
constexpr std::string_view name_of(Kind kind) noexcept {
  switch (kind) {
    case Kind::undefined:
      return "undefined value";
    case Kind::none:
      return "None";
    case Kind::boolean:
      return "bool";
    case Kind::integer:
      return "int";
    case Kind::real:
      return "float";
    case Kind::string:
      return "str";
    case Kind::list:
      return "list";
    case Kind::tuple:
      return "tuple";
    case Kind::range:
      return "range";
    case Kind::keys_view:
      return "dict_keys";
    case Kind::values_view:
      return "dict_values";
    case Kind::items_view:
      return "dict_items";
    case Kind::dict:
      return "dict";
    case Kind::generator:
      return "generator";
    case Kind::name_space:
      return "namespace";
    case Kind::loop:
      return "loop";
    case Kind::macro:
      return "macro";
    case Kind::function:
      return "function";
    case Kind::method:
      return "method";
  }
  return "value";
}

/// Objects nest at most this deep, so that walking and freeing a value needs a bounded stack.
/// JSON of the caller reaches json_max_depth = 96.
inline constexpr int max_value_depth = 128;

/// Out of line: it would be repeated at every place where a failure can pass.
struct FreeError {
  TMODEL_NOINLINE void operator()(Error* error) const noexcept { delete error; }
};
/// A failure inside the evaluator: one pointer, so that its many stack frames stay small.
using Raised = std::unique_ptr<Error, FreeError>;

/// The bytes that live values of one rendering may take.
class Budget {
 public:
  explicit Budget(std::size_t bytes) noexcept : left_(bytes) {}
  [[nodiscard]] bool take(std::size_t bytes) noexcept {
    if (bytes > left_) return false;
    left_ -= bytes;
    return true;
  }
  void give_back(std::size_t bytes) noexcept { left_ += bytes; }

 private:
  std::size_t left_;
};

/// Gives back what it holds when its object dies.
class Charge {
 public:
  Charge() = default;
  Charge(Charge&& other) noexcept
      : budget_(std::exchange(other.budget_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Charge& operator=(Charge&& other) noexcept {
    std::swap(budget_, other.budget_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Charge() {
    if (budget_) budget_->give_back(bytes_);
  }
  /// Adds to what is held; false if the budget is spent.
  [[nodiscard]] bool grow(Budget& budget, std::size_t bytes) noexcept {
    if (!budget.take(bytes)) return false;
    budget_ = &budget;
    bytes_ += bytes;
    return true;
  }

 private:
  Budget* budget_ = nullptr;
  std::size_t bytes_ = 0;
};

class Value;
struct StringObject;
struct SequenceObject;
struct DictObject;
struct GeneratorObject;
struct NamespaceObject;
struct MethodObject;

/// One value: a scalar, or a shared pointer to an object. Copies share; values made by the factories below never
/// change, so one may be given to renderings on several threads.
class Value {
 public:
  Value() = default;  ///< undefined
  // Out of line, because the evaluator copies and drops values in a thousand places.
  TMODEL_NOINLINE Value(const Value&) = default;
  TMODEL_NOINLINE ~Value() = default;
  Value(Value&&) noexcept = default;
  Value& operator=(const Value& other) {
    Value copy(other);
    return *this = std::move(copy);
  }
  TMODEL_NOINLINE Value& operator=(Value&&) noexcept = default;
  static Value none() noexcept { return Value(Kind::none); }
  static Value boolean(bool value) noexcept {
    Value v(Kind::boolean);
    v.as_.integer = value;
    return v;
  }
  static Value integer(std::int64_t value) noexcept {
    Value v(Kind::integer);
    v.as_.integer = value;
    return v;
  }
  static Value real(f64 value) noexcept {
    Value v(Kind::real);
    v.as_.real = value;
    return v;
  }
  /// UTF-8. `marked`: the text comes from message content, see Rendered::content.
  static Value string(std::string_view text, bool marked = false);
  static Value list(std::vector<Value> items);
  /// Keys must differ. Order is kept.
  static Value dict(std::vector<std::pair<Value, Value>> entries);
  static Value dict(std::vector<std::pair<std::string, Value>> entries);

  Kind kind() const noexcept { return kind_; }
  bool is(Kind kind) const noexcept { return kind_ == kind; }
  bool is_undefined() const noexcept { return kind_ == Kind::undefined; }
  bool is_string() const noexcept { return kind_ == Kind::string; }
  bool is_sequence() const noexcept { return is_sequence_kind(kind_); }
  /// bool, int or float: what arithmetic and numeric comparison take.
  bool is_number() const noexcept { return kind_ >= Kind::boolean && kind_ <= Kind::real; }
  bool is_integral() const noexcept { return kind_ == Kind::boolean || kind_ == Kind::integer; }

  bool truth_flag() const noexcept { return as_.integer != 0; }     ///< of a boolean
  std::int64_t as_integer() const noexcept { return as_.integer; }  ///< of a boolean, integer or function
  f64 as_real() const noexcept { return is(Kind::real) ? as_.real : static_cast<f64>(as_.integer); }
  const StringObject& as_string() const noexcept { return *static_cast<const StringObject*>(object_.get()); }
  const SequenceObject& as_sequence() const noexcept { return *static_cast<const SequenceObject*>(object_.get()); }
  const DictObject& as_dict() const noexcept { return *static_cast<const DictObject*>(object_.get()); }
  GeneratorObject& as_generator() const noexcept { return *static_cast<GeneratorObject*>(object_.get()); }
  NamespaceObject& as_namespace() const noexcept { return *static_cast<NamespaceObject*>(object_.get()); }
  const MethodObject& as_method() const noexcept { return *static_cast<const MethodObject*>(object_.get()); }
  template <class Object>
  Object& as() const noexcept {
    return *static_cast<Object*>(object_.get());
  }

  std::string_view text() const noexcept;  ///< of a string
  /// How deep objects nest inside; 0 for scalars, strings, and namespaces and macros, which their renderer owns.
  int depth() const noexcept { return depth_; }
  const void* identity() const noexcept { return object_.get(); }

  /// For the evaluator: a value of an object kind.
  Value(Kind kind, std::shared_ptr<void> object, int depth) noexcept
      : kind_(kind), depth_(depth), object_(std::move(object)) {}
  /// For the evaluator: a global function by its number.
  static Value function(int id) noexcept {
    Value v(Kind::function);
    v.as_.integer = id;
    return v;
  }
  /// An undefined value that remembers the name it was looked up by. `member`: an attribute or item of something.
  static Value undefined(const Value& name, bool member) noexcept {
    Value v;
    if (name.is_string()) v.object_ = name.object_;
    v.as_.integer = member;
    return v;
  }

 private:
  explicit Value(Kind kind) noexcept : kind_(kind) {}
  Kind kind_ = Kind::undefined;
  int depth_ = 0;
  union {
    std::int64_t integer;
    f64 real;
  } as_{0};
  std::shared_ptr<void> object_;
};

struct StringObject {
  Text text;
  std::size_t length = 0;  ///< code points
  bool safe = false;       ///< Jinja2's Markup: adding plain text to it escapes that text for HTML
  Charge charge{};
  bool is_ascii() const noexcept { return length == text.bytes.size(); }
};

struct SequenceObject {
  std::vector<Value> items;
  Charge charge{};
};

struct DictObject {
  std::vector<std::pair<Value, Value>> entries;
  Charge charge{};
  /// Value of a string key, nullptr if there is none.
  const Value* find(std::string_view key) const noexcept {
    for (const auto& entry : entries)
      if (entry.first.is_string() && entry.first.text() == key) return &entry.second;
    return nullptr;
  }
};

/// Elements were computed when the generator was made; `problem` is what computing the next one after them met, and
/// is raised when a reader gets there, as with Python's lazy generators.
struct GeneratorObject {
  std::vector<Value> items;
  std::size_t next = 0;
  Raised problem;
  Charge charge{};
};

/// The only values that can form cycles: their renderer empties them when it ends.
struct NamespaceObject {
  std::vector<std::pair<Value, Value>> attributes;
  Charge charge{};
  Value* find(std::string_view name) noexcept {
    for (auto& attribute : attributes)
      if (attribute.first.text() == name) return &attribute.second;
    return nullptr;
  }
};

struct MethodObject {
  Value self;
  int id = 0;
  Charge charge{};
};

inline std::string_view Value::text() const noexcept { return as_string().text.bytes; }

/// Depth of an object that holds these values.
inline int depth_over(const std::vector<Value>& items) noexcept {
  int depth = 1;
  for (const Value& item : items) depth = std::max(depth, item.depth() + 1);
  return depth;
}
inline int depth_over(const std::vector<std::pair<Value, Value>>& entries) noexcept {
  int depth = 1;
  for (const auto& entry : entries) depth = std::max({depth, entry.first.depth() + 1, entry.second.depth() + 1});
  return depth;
}

inline Value Value::string(std::string_view text, bool marked) {
  auto object = std::make_shared<StringObject>();
  object->text = Text::of(text, marked);
  object->length = count_code_points(text);
  return Value(Kind::string, std::move(object), 0);
}

inline Value Value::list(std::vector<Value> items) {
  auto object = std::make_shared<SequenceObject>();
  const int depth = depth_over(items);
  object->items = std::move(items);
  return Value(Kind::list, std::move(object), depth);
}

inline Value Value::dict(std::vector<std::pair<Value, Value>> entries) {
  auto object = std::make_shared<DictObject>();
  const int depth = depth_over(entries);
  object->entries = std::move(entries);
  return Value(Kind::dict, std::move(object), depth);
}

inline Value Value::dict(std::vector<std::pair<std::string, Value>> entries) {
  std::vector<std::pair<Value, Value>> converted;
  converted.reserve(entries.size());
  for (auto& entry : entries) converted.emplace_back(Value::string(entry.first), std::move(entry.second));
  return dict(std::move(converted));
}

}  // namespace tmodel::inline v0::jinja
