#pragma once
// JSON text -> a flat, immutable document. The only nlohmann include of the library, used through its SAX interface:
// its DOM allocates while it destroys itself, inside noexcept, and would end the process when memory is short.
// Bounds: nesting depth, duplicate keys refused. Numbers keep int64/uint64 exactly, others are f64.

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tmodel/core/error.hpp"

namespace tmodel::inline v0 {

enum class JsonType : std::uint8_t { null, boolean, integer, unsigned_integer, number, string, array, object };

/// Deepest nesting that is read; real model files stay below 20.
inline constexpr int json_max_depth = 96;

class Json;

/// A parsed text. Owns everything; Json values point into it and must not outlive it.
class JsonDocument {
 public:
  /// `where` names the text in errors. Errors: bad_file (syntax, depth, duplicate key), out_of_memory.
  static expected<JsonDocument> parse(std::string_view text, std::string_view where);
  Json root() const noexcept;

 private:
  friend class Json;
  friend struct JsonBuilder;
  struct Node {
    JsonType type = JsonType::null;
    std::uint32_t next = 0;        ///< sibling, 0 = none
    std::uint32_t first = 0;       ///< first child of array and object
    std::uint32_t count = 0;       ///< children; 1 for true
    std::size_t key = 0;           ///< offset of the key in text_, if the parent is an object
    std::uint32_t key_length = 0;
    std::uint32_t length = 0;      ///< of a string
    union {
      std::int64_t integer;
      std::uint64_t unsigned_integer;
      f64 number;
      std::size_t offset;          ///< of a string in text_
    } as{};
  };
  std::vector<Node> nodes_;
  std::string text_;
};

/// A value inside a document: a cheap handle. A default one, and a member that is not there, is `missing`.
class Json {
 public:
  Json() = default;
  explicit operator bool() const noexcept { return document_ != nullptr; }  ///< present (null counts as present)
  JsonType type() const noexcept { return document_ ? node().type : JsonType::null; }
  bool is_null() const noexcept { return type() == JsonType::null; }
  bool is_string() const noexcept { return type() == JsonType::string; }
  bool is_object() const noexcept { return type() == JsonType::object; }
  bool is_array() const noexcept { return type() == JsonType::array; }
  bool is_bool() const noexcept { return type() == JsonType::boolean; }
  bool is_integer() const noexcept { return type() == JsonType::integer || type() == JsonType::unsigned_integer; }
  bool is_number() const noexcept { return is_integer() || type() == JsonType::number; }

  /// Members of an array or object; 0 otherwise.
  std::size_t size() const noexcept { return is_array() || is_object() ? node().count : 0; }
  /// Iteration over array items or object members, in the order of the text.
  Json first() const noexcept { return size() ? at(node().first) : Json(); }
  Json next() const noexcept { return document_ && node().next ? at(node().next) : Json(); }
  std::string_view key() const noexcept {
    return document_ ? std::string_view(document_->text_).substr(node().key, node().key_length) : std::string_view();
  }
  /// Member of an object, by a linear search; missing if there is none.
  Json operator[](std::string_view name) const noexcept {
    if (is_object())
      for (Json item = first(); item; item = item.next())
        if (item.key() == name) return item;
    return {};
  }

  /// The value, or the given one if this is of another type.
  std::string_view string(std::string_view otherwise = {}) const noexcept {
    return is_string() ? std::string_view(document_->text_).substr(node().as.offset, node().length) : otherwise;
  }
  bool boolean(bool otherwise = false) const noexcept { return is_bool() ? node().count != 0 : otherwise; }
  /// nullopt: not an integer, or outside int64. 3.0 counts as 3.
  std::optional<std::int64_t> integer() const noexcept {
    if (type() == JsonType::integer) return node().as.integer;
    if (type() == JsonType::unsigned_integer && node().as.unsigned_integer <= std::uint64_t{0x7FFFFFFFFFFFFFFF})
      return static_cast<std::int64_t>(node().as.unsigned_integer);
    if (type() == JsonType::number && node().as.number >= -0x1p53 && node().as.number <= 0x1p53) {
      const auto whole = static_cast<std::int64_t>(node().as.number);
      if (static_cast<f64>(whole) == node().as.number) return whole;
    }
    return std::nullopt;
  }
  std::optional<f64> number() const noexcept {
    if (type() == JsonType::number) return node().as.number;
    if (type() == JsonType::integer) return static_cast<f64>(node().as.integer);
    if (type() == JsonType::unsigned_integer) return static_cast<f64>(node().as.unsigned_integer);
    return std::nullopt;
  }

 private:
  friend class JsonDocument;
  Json(const JsonDocument* document, std::uint32_t index) noexcept : document_(document), index_(index) {}
  Json at(std::uint32_t index) const noexcept { return {document_, index}; }
  const JsonDocument::Node& node() const noexcept { return document_->nodes_[index_]; }
  const JsonDocument* document_ = nullptr;
  std::uint32_t index_ = 0;
};

inline Json JsonDocument::root() const noexcept { return {this, 1}; }

/// SAX handler that fills a document. Node 0 is unused, so that 0 can mean "none".
struct JsonBuilder {
  using number_integer_t = std::int64_t;
  using number_unsigned_t = std::uint64_t;
  using number_float_t = f64;
  using string_t = std::string;
  using binary_t = nlohmann::json::binary_t;
  struct Open {
    std::uint32_t node, last;
  };

  JsonDocument document;
  std::string problem;
  std::vector<Open> open;
  std::size_t key_offset = 0;
  std::uint32_t key_length = 0;

  JsonDocument::Node* add(JsonType type) {
    if (document.nodes_.empty()) document.nodes_.emplace_back();
    const auto index = static_cast<std::uint32_t>(document.nodes_.size());
    JsonDocument::Node node;
    node.type = type;
    node.key = key_offset;
    node.key_length = key_length;
    document.nodes_.push_back(node);
    if (!open.empty()) {
      Open& parent = open.back();
      (parent.last ? document.nodes_[parent.last].next : document.nodes_[parent.node].first) = index;
      parent.last = index;
      ++document.nodes_[parent.node].count;
    }
    return &document.nodes_.back();
  }
  bool fits(std::size_t length) {
    if (length <= std::numeric_limits<std::uint32_t>::max() && document.nodes_.size() < 0xFFFFFFF0u) return true;
    problem = "text is too large";
    return false;
  }
  bool null() { return add(JsonType::null) != nullptr; }
  bool boolean(bool value) { return (add(JsonType::boolean)->count = value, true); }
  bool number_integer(std::int64_t value) { return (add(JsonType::integer)->as.integer = value, true); }
  bool number_unsigned(std::uint64_t value) {
    return (add(JsonType::unsigned_integer)->as.unsigned_integer = value, true);
  }
  bool number_float(f64 value, const std::string&) { return (add(JsonType::number)->as.number = value, true); }
  bool binary(binary_t&) { return false; }
  bool string(std::string& value) {
    if (!fits(value.size())) return false;
    const std::size_t offset = document.text_.size();
    document.text_ += value;
    JsonDocument::Node* node = add(JsonType::string);
    node->as.offset = offset;
    node->length = static_cast<std::uint32_t>(value.size());
    return true;
  }
  bool key(std::string& value) {
    if (!fits(value.size())) return false;
    key_offset = document.text_.size();
    key_length = static_cast<std::uint32_t>(value.size());
    document.text_ += value;
    return true;
  }
  bool start(JsonType type) {
    if (open.size() >= static_cast<std::size_t>(json_max_depth)) {
      problem = "nested deeper than " + std::to_string(json_max_depth) + " levels";
      return false;
    }
    add(type);
    open.push_back({static_cast<std::uint32_t>(document.nodes_.size() - 1), 0});
    return true;
  }
  bool start_object(std::size_t) { return start(JsonType::object); }
  bool start_array(std::size_t) {
    const bool ok = start(JsonType::array);
    key_length = 0;
    return ok;
  }
  bool end_array() { return (open.pop_back(), key_length = 0, true); }
  bool end_object() {
    const auto& nodes = document.nodes_;
    std::vector<std::string_view> keys;
    for (std::uint32_t i = nodes[open.back().node].first; i != 0; i = nodes[i].next)
      keys.push_back(std::string_view(document.text_).substr(nodes[i].key, nodes[i].key_length));
    std::sort(keys.begin(), keys.end());
    if (const auto twice = std::adjacent_find(keys.begin(), keys.end()); twice != keys.end()) {
      problem = "key stands twice: " + printable(*twice);
      return false;
    }
    open.pop_back();
    key_length = 0;
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) {
    problem = "not JSON at byte " + std::to_string(position);
    return false;
  }
};

namespace detail {
/// nlohmann::json::sax_parse for JSON alone: the public function also compiles the readers of four binary formats, which
/// is most of its cost. Versions that were not tried take it all the same.
inline bool parse_json(std::string_view text, JsonBuilder& builder) {
  const char* const end = text.data() + text.size();
#if NLOHMANN_JSON_VERSION_MAJOR == 3 && NLOHMANN_JSON_VERSION_MINOR == 11
  auto input = nlohmann::detail::input_adapter(text.data(), end);
  return nlohmann::detail::parser<nlohmann::json, decltype(input)>(std::move(input)).sax_parse(&builder, true);
#else
  return nlohmann::json::sax_parse(text.data(), end, &builder);
#endif
}
}  // namespace detail

inline expected<JsonDocument> JsonDocument::parse(std::string_view text, std::string_view where) {
  return guard([&]() -> expected<JsonDocument> {
    // nlohmann's lexer takes a zero byte for the end of the text and would ignore what follows it.
    if (text.find('\0') != std::string_view::npos) return fail(Errc::bad_file, "not JSON: a zero byte", where);
    JsonBuilder builder;
    if (!detail::parse_json(text, builder))
      return fail(Errc::bad_file, builder.problem.empty() ? "not JSON" : builder.problem, where);
    return std::move(builder.document);
  });
}

}  // namespace tmodel::inline v0
