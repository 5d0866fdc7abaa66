// Real chat templates against renderings made with Jinja2 set up as transformers does.
// Source: the data folder's chat_templates/renderings.jsonl; lines with "error" must fail.

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <set>

#include "text/template_mutation.hpp"
#include "tmodel/text/chat_template.hpp"

namespace {

using namespace tmodel;

std::string folder() { return std::string(TMODEL_CONFORMANCE_DATA) + "/chat_templates/"; }

std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string template_source(const std::string& path) {
  const std::string text = read(path);
  if (!path.ends_with(".json")) return text;
  auto found = find_chat_template({.chat_template_jinja = {}, .chat_template_json = text, .tokenizer_config_json = {}});
  EXPECT_TRUE(found && *found) << path;
  return found && *found ? **found : std::string();
}

TEST(ConformanceChatTemplates, render_as_jinja2_does) {
  std::ifstream lines(folder() + "renderings.jsonl");
  ASSERT_TRUE(lines.good());
  RenderOptions options;
  options.now = LocalTime{.year = 2025, .month = 7, .day = 10, .hour = 12};
  int count = 0, failures = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    auto expectation = JsonDocument::parse(line, "renderings.jsonl");
    ASSERT_TRUE(expectation) << expectation.error().message();
    const Json root = expectation->root();
    const std::string name(root["template"].string()), context(root["context"].string());
    SCOPED_TRACE(name + " with " + context);

    auto parsed = ChatTemplate::parse(template_source(folder() + name), name);
    ASSERT_TRUE(parsed) << parsed.error().message();
    auto document = JsonDocument::parse(read(folder() + "contexts/" + context + ".json"), context);
    ASSERT_TRUE(document) << document.error().message();
    auto variables = jinja::chat_variables(document->root());
    ASSERT_TRUE(variables) << variables.error().message();

    auto rendered = parsed->render(*variables, options);
    if (root["error"]) {
      ++failures;
      EXPECT_FALSE(rendered) << rendered->text;
      continue;
    }
    ASSERT_TRUE(rendered) << rendered.error().message();
    EXPECT_EQ(rendered->text, root["output"].string());
  }
  EXPECT_EQ(count, 240);
  EXPECT_EQ(failures, 23);
}

TEST(ConformanceChatTemplates, survive_mutations) {
  std::set<std::string> names, contexts;
  std::ifstream lines(folder() + "renderings.jsonl");
  for (std::string line; std::getline(lines, line);) {
    auto rendering = JsonDocument::parse(line, "renderings.jsonl");
    ASSERT_TRUE(rendering);
    names.emplace(rendering->root()["template"].string());
    contexts.emplace(rendering->root()["context"].string());
  }
  std::vector<std::string> sources;
  for (const std::string& name : names) sources.push_back(template_source(folder() + name));
  std::vector<jinja::Value> values;
  for (const std::string& context : contexts) {
    auto document = JsonDocument::parse(read(folder() + "contexts/" + context + ".json"), context);
    ASSERT_TRUE(document);
    auto variables = jinja::chat_variables(document->root());
    ASSERT_TRUE(variables);
    values.push_back(std::move(*variables));
  }
  random_templates::survive_mutations(sources, values, random_templates::mutation_count(2000));
}

}  // namespace
