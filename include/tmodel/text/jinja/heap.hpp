#pragma once
// What one rendering may use: steps, depth, memory; and how values are made and walked within it.
// Templates come with untrusted files, so every loop over their data goes through here.

#include <initializer_list>

#include "tmodel/text/jinja/value.hpp"

namespace tmodel::inline v0::jinja {

template <class T>
using Outcome = tl::expected<T, Raised>;

/// A failure whose message is these parts in a row. Out of line, with views: a failure is raised in 300 places.
TMODEL_NOINLINE inline tl::unexpected<Raised> raise(std::initializer_list<std::string_view> what,
                                                    Errc code = Errc::bad_template) {
  Raised error(new Error(code));
  for (const std::string_view part : what) error->what += part;
  return tl::unexpected<Raised>(std::move(error));
}
TMODEL_NOINLINE inline tl::unexpected<Raised> raise(std::string_view what, Errc code = Errc::bad_template) {
  return raise({what}, code);
}

/// TMODEL_TRY and TMODEL_CHECK for Outcome.
#define TMODEL_JINJA_TRY(declaration, expression) \
  TMODEL_JINJA_TRY_(TMODEL_CONCAT(tmodel_jinja_, __LINE__), declaration, expression)
#define TMODEL_JINJA_TRY_(temporary, declaration, expression)                                     \
  auto temporary = (expression);                                                                  \
  if (!temporary) return ::tl::unexpected<::tmodel::jinja::Raised>(std::move(temporary).error()); \
  declaration = std::move(*temporary)
#define TMODEL_JINJA_CHECK(expression)                                                         \
  do {                                                                                         \
    if (auto tmodel_jinja_check = (expression); !tmodel_jinja_check)                           \
      return ::tl::unexpected<::tmodel::jinja::Raised>(std::move(tmodel_jinja_check).error()); \
  } while (false)

/// Longest range() and batch, as Jinja2's sandbox has it.
inline constexpr std::int64_t max_range = 100'000;

/// Bounds of one rendering. The defaults leave room for chats of several hundred thousand tokens.
struct Limits {
  std::uint64_t steps = 10'000'000;  ///< operations; handling 16 bytes of text counts as one
  int depth = 400;                   ///< nested statements, expressions and macro calls
  std::size_t output_bytes = std::size_t{16} << 20;
  std::size_t value_bytes = std::size_t{32} << 20;  ///< values and captured text alive at one time
};

class Heap {
 public:
  explicit Heap(const Limits& limits)
      : steps_left_(limits.steps), value_bytes_(limits.value_bytes), budget_(limits.value_bytes) {}
  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;
  /// Breaks the cycles that namespaces may have formed.
  ~Heap() {
    for (auto& name_space : namespaces_) name_space->attributes.clear();
  }

  Outcome<void> step(std::uint64_t n = 1) {
    if (n > steps_left_) {
      steps_left_ = 0;  // it stays refused
      return raise("the template takes too many steps");
    }
    steps_left_ -= n;
    return {};
  }
  Outcome<void> step_over_bytes(std::size_t bytes) { return step(1 + bytes / 16); }

  std::size_t value_bytes() const noexcept { return value_bytes_; }  ///< the bound, not what is left of it
  Budget& budget() noexcept { return budget_; }
  static tl::unexpected<Raised> too_large() { return raise("the template's values take too much memory"); }
  static tl::unexpected<Raised> too_deep() { return raise("the template nests its values too deeply"); }

  Outcome<Value> string(Text&& text, bool safe = false) {
    TMODEL_JINJA_CHECK(step_over_bytes(text.bytes.size()));
    auto object = std::make_shared<StringObject>();
    if (!object->charge.grow(budget_, object_bytes + text.cost())) return too_large();
    object->length = count_code_points(text.bytes);
    object->text = std::move(text);
    object->safe = safe;
    return Value(Kind::string, std::move(object), 0);
  }
  Outcome<Value> string(std::string_view text) { return string(Text::of(text)); }

  Outcome<Value> sequence(Kind kind, std::vector<Value>&& items) {
    TMODEL_JINJA_CHECK(step(1 + items.size() / 4));
    auto object = std::make_shared<SequenceObject>();
    if (!object->charge.grow(budget_, object_bytes + items.capacity() * sizeof(Value))) return too_large();
    const int depth = depth_over(items);
    if (depth > max_value_depth) return too_deep();
    object->items = std::move(items);
    return Value(kind, std::move(object), depth);
  }
  Outcome<Value> list(std::vector<Value>&& items) { return sequence(Kind::list, std::move(items)); }
  Outcome<Value> pair(Value first, Value second) {
    std::vector<Value> items;
    items.reserve(2);
    items.push_back(std::move(first));
    items.push_back(std::move(second));
    return sequence(Kind::tuple, std::move(items));
  }

  Outcome<Value> dict(std::vector<std::pair<Value, Value>>&& entries) {
    TMODEL_JINJA_CHECK(step(1 + entries.size() / 4));
    auto object = std::make_shared<DictObject>();
    if (!object->charge.grow(budget_, object_bytes + entries.capacity() * 2 * sizeof(Value))) return too_large();
    const int depth = depth_over(entries);
    if (depth > max_value_depth) return too_deep();
    object->entries = std::move(entries);
    return Value(Kind::dict, std::move(object), depth);
  }

  Outcome<Value> generator(std::vector<Value>&& items, Raised problem = {}) {
    TMODEL_JINJA_CHECK(step(1 + items.size() / 4));
    auto object = std::make_shared<GeneratorObject>();
    if (!object->charge.grow(budget_, object_bytes + items.capacity() * sizeof(Value))) return too_large();
    const int depth = depth_over(items);
    if (depth > max_value_depth) return too_deep();
    object->items = std::move(items);
    object->problem = std::move(problem);
    return Value(Kind::generator, std::move(object), depth);
  }

  Outcome<Value> name_space(std::vector<std::pair<Value, Value>>&& attributes) {
    auto object = std::make_shared<NamespaceObject>();
    if (!object->charge.grow(budget_, 2 * object_bytes)) return too_large();
    if (!object->charge.grow(budget_, attributes.capacity() * 2 * sizeof(Value))) return too_large();
    object->attributes = std::move(attributes);
    namespaces_.push_back(object);
    return Value(Kind::name_space, std::move(object), 0);
  }
  Outcome<void> set_attribute(NamespaceObject& object, const Value& name, Value value) {
    TMODEL_JINJA_CHECK(step(1 + object.attributes.size() / 8));
    if (Value* present = object.find(name.text())) {
      *present = std::move(value);
      return {};
    }
    if (!object.charge.grow(budget_, 4 * sizeof(Value))) return too_large();
    object.attributes.emplace_back(name, std::move(value));
    return {};
  }

  Outcome<Value> method(Value self, int id) {
    auto object = std::make_shared<MethodObject>();
    if (!object->charge.grow(budget_, object_bytes)) return too_large();
    const int depth = self.depth() + 1;
    if (depth > max_value_depth) return too_deep();
    object->self = std::move(self);
    object->id = id;
    return Value(Kind::method, std::move(object), depth);
  }

 private:
  static constexpr std::size_t object_bytes =
      128;  // an object with its control block and allocator overhead, rounded up
  std::uint64_t steps_left_;
  std::size_t value_bytes_;
  Budget budget_;  // outlives the namespaces
  std::vector<std::shared_ptr<NamespaceObject>> namespaces_;
};

/// Grows a text within the budget. After a refusal it ignores what is appended; finish() or check() tells.
class TextBuilder {
 public:
  explicit TextBuilder(Heap& heap) : heap_(heap) {}

  void append(std::string_view s, bool marked = false) {
    if (admit(s.size())) text_.append(s, marked);
  }
  void append(const Text& from, Range part) {
    if (admit(part.end - part.begin)) text_.append(from, part);
  }
  void append(const Text& from) { append(from, {0, from.bytes.size()}); }
  void append_code_point(char32_t c, bool marked = false) {
    std::string bytes;
    encode(c, bytes);
    append(bytes, marked);
  }
  /// Appends s n times.
  void repeat(const Text& s, std::uint64_t n) {
    for (; n != 0 && ok_ && !s.bytes.empty(); --n) append(s);
  }
  void repeat(char c, std::uint64_t n) {
    if (admit(n)) text_.append(std::string(n, c));
  }

  bool ok() const noexcept { return ok_; }
  const Text& text() const noexcept { return text_; }
  Text take() && noexcept { return std::move(text_); }
  Outcome<void> check() const {
    if (ok_) return {};
    TMODEL_JINJA_CHECK(heap_.step());
    return Heap::too_large();
  }
  Outcome<Value> finish(bool safe = false) {
    TMODEL_JINJA_CHECK(check());
    { const Charge released = std::move(charge_); }  // the string is charged anew
    return heap_.string(std::move(text_), safe);
  }

 private:
  bool admit(std::size_t bytes) {
    // Marks are charged with the bytes that follow them: at least one byte lies between two marks.
    const std::size_t marks = text_.marks.size() - charged_marks_;
    charged_marks_ = text_.marks.size();
    unstepped_ += bytes + append_bytes;
    ok_ = ok_ && charge_.grow(heap_.budget(), bytes + marks * sizeof(Range)) && heap_.step(unstepped_ / 16).has_value();
    unstepped_ %= 16;
    return ok_;
  }
  static constexpr std::size_t append_bytes = 8;  // one call takes the time of copying more than that
  Heap& heap_;
  Text text_;
  Charge charge_;
  std::size_t charged_marks_ = 0, unstepped_ = 0;
  bool ok_ = true;
};

/// Walks what a for loop can walk. Holds its source; a generator is consumed as it goes.
class Iterator {
 public:
  static bool can_walk(const Value& v) noexcept {
    return v.is_undefined() || v.is_string() || v.is_sequence() || v.is(Kind::dict) || v.is(Kind::generator);
  }
  static Outcome<Iterator> over(Value source) {
    if (!can_walk(source))
      return raise({"'", name_of(source.kind()), "' object is not iterable"},
                   source.is(Kind::loop) ? Errc::unsupported : Errc::bad_template);
    return Iterator(std::move(source));
  }

  /// False at the end.
  Outcome<bool> next(Heap& heap, Value& out) {
    TMODEL_JINJA_CHECK(heap.step());
    if (source_.is_sequence()) {
      const auto& items = source_.as_sequence().items;
      if (at_ >= items.size()) return false;
      out = items[at_++];
      return true;
    }
    if (source_.is(Kind::dict)) {
      const auto& entries = source_.as_dict().entries;
      if (at_ >= entries.size()) return false;
      out = entries[at_++].first;
      return true;
    }
    if (source_.is_string()) {
      const Text& text = source_.as_string().text;
      if (at_ >= text.bytes.size()) return false;
      const std::size_t n = decode(std::string_view(text.bytes).substr(at_)).bytes;
      TMODEL_JINJA_TRY(out, heap.string(text.slice({at_, at_ + n})));
      at_ += n;
      return true;
    }
    if (source_.is(Kind::generator)) {
      GeneratorObject& generator = source_.as_generator();
      if (generator.next < generator.items.size()) {
        out = generator.items[generator.next++];
        return true;
      }
      if (generator.problem) return tl::unexpected<Raised>(std::move(generator.problem));
    }
    return false;
  }

 private:
  explicit Iterator(Value source) noexcept : source_(std::move(source)) {}
  Value source_;
  std::size_t at_ = 0;
};

/// All elements of what a for loop can walk.
inline Outcome<std::vector<Value>> elements_of(Heap& heap, const Value& source) {
  TMODEL_JINJA_TRY(Iterator it, Iterator::over(source));
  std::vector<Value> items;
  if (source.is_sequence()) items.reserve(source.as_sequence().items.size());
  for (Value item;;) {
    TMODEL_JINJA_TRY(const bool more, it.next(heap, item));
    if (!more) return items;
    items.push_back(std::move(item));
  }
}

}  // namespace tmodel::inline v0::jinja
