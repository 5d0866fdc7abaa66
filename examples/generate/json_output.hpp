#pragma once
// --json: what the program says to scripts, one JSON object a line. The fields are described where --help prints them.

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "generate/stats.hpp"
#include "tmodel/text/chat_template.hpp"

namespace program {

/// Words as an identifier: "context full" is context_full.
inline std::string identifier(std::string_view words) {
  std::string id(words);
  std::replace(id.begin(), id.end(), ' ', '_');
  return id;
}

class JsonLines {
 public:
  using Object = nlohmann::ordered_json;

  /// False: it could not be written.
  static bool write(const Object& object) {
    const std::string line = object.dump(-1, ' ', false, Object::error_handler_t::replace) + "\n";
    return std::fwrite(line.data(), 1, line.size(), stdout) == line.size() && std::fflush(stdout) == 0;
  }
  static bool delta(std::string_view text) { return write({{"type", "delta"}, {"text", text}}); }
  static bool error(const tmodel::Error& e) {
    return write({{"type", "error"}, {"code", identifier(name_of(e.code))}, {"message", e.message()}});
  }
  static bool answer(const tmodel::Answer& a, const Stats& s) {
    Object object{{"type", "answer"}, {"text", a.text}, {"reason", identifier(name_of(a.generation.reason))}};
    object["dropped_messages"] = a.dropped_messages;
    add(object, s);
    return write(object);
  }
  static bool stats(const Stats& s, std::size_t messages) {
    Object object{{"type", "stats"}, {"messages", messages}, {"peak_memory_bytes", peak_memory()}};
    add(object, s);
    return write(object);
  }
  static bool history(const std::vector<tmodel::Message>& messages) {
    Object list = Object::array();
    for (const tmodel::Message& m : messages) list.push_back({{"role", m.role}, {"content", m.content}});
    return write({{"type", "history"}, {"messages", std::move(list)}});
  }

 private:
  static void add(Object& object, const Stats& s) {
    const auto rounded = [](double seconds) { return std::round(seconds * 1e6) / 1e6; };
    object["prompt_tokens"] = s.prompt_tokens;
    object["cached_tokens"] = s.cached_tokens;
    object["answer_tokens"] = s.answer_tokens;
    object["context_used"] = s.context_used;
    object["context_size"] = s.context_size;
    object["seed"] = s.seed;
    object["load_seconds"] = rounded(s.load_seconds);
    object["prompt_seconds"] = rounded(s.prompt_seconds);
    object["answer_seconds"] = rounded(s.answer_seconds);
  }
};

}  // namespace program
