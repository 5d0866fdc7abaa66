// Renders templates by the thousand for tools/fuzz_templates.py, which compares with Jinja2. A line of stdin is
// {"template", "variables", "now": [year, month, day, hour, minute, second, microsecond]}; a line of stdout is
// {"text", "content": [[begin, end], ...]} or {"error", "code", "where"}.

#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "tmodel/text/chat_template.hpp"

namespace {

using namespace tmodel;

expected<Rendered> render_case(const std::string& line) {
  TMODEL_TRY(const JsonDocument document, JsonDocument::parse(line, "case"));
  const Json root = document.root();
  LocalTime now;
  int* const parts[] = {&now.year, &now.month, &now.day, &now.hour, &now.minute, &now.second, &now.microsecond};
  Json part = root["now"].first();
  for (int* target : parts) {
    *target = static_cast<int>(part.integer().value_or(0));
    part = part.next();
  }
  TMODEL_TRY(const ChatTemplate parsed, ChatTemplate::parse(root["template"].string(), "t"));
  TMODEL_TRY(const jinja::Value variables, jinja::chat_variables(root["variables"]));
  return parsed.render(variables, {.now = now, .limits = {}});
}

}  // namespace

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    const auto rendered = render_case(line);
    nlohmann::json out;
    if (rendered) {
      out["text"] = rendered->text;
      out["content"] = nlohmann::json::array();
      for (const Range& range : rendered->content) out["content"].push_back({range.begin, range.end});
    } else {
      const Error& error = rendered.error();
      out = {{"error", error.what}, {"code", name_of(error.code)}, {"where", error.where}};
    }
    std::cout << out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
  }
}
