// Random templates: every byte that came from a message is marked and no byte of the template is; and damaged ones,
// which end in an error or a text.

#include <gtest/gtest.h>

#include "text/template_generator.hpp"
#include "text/template_mutation.hpp"

namespace {

using namespace tmodel;

/// The first place where the property does not hold; empty if there is none. Counts the letters it looked at.
std::string broken_mark(const Rendered& rendered, std::size_t& marked_letters, std::size_t& template_letters) {
  const std::string_view text = rendered.text;
  auto range = rendered.content.begin();
  for (std::size_t at = 0; at < text.size();) {
    const jinja::CodePoint c = jinja::decode(text.substr(at));
    while (range != rendered.content.end() && range->end <= at) ++range;
    const bool begins_marked = range != rendered.content.end() && range->begin <= at;
    const bool ends_marked = begins_marked && at + c.bytes <= range->end;
    if (random_templates::is_of_message(c.value)) {
      ++marked_letters;
      if (!ends_marked) return "message text is not marked at byte " + std::to_string(at);
    }
    if (random_templates::is_of_template(c.value)) {
      ++template_letters;
      if (begins_marked) return "template text is marked at byte " + std::to_string(at);
    }
    at += c.bytes;
  }
  return {};
}

TEST(JinjaMarks, hold_for_random_templates) {
  constexpr std::uint64_t count = 4000;
  std::size_t marked_letters = 0, template_letters = 0, rendered_templates = 0;
  for (std::uint64_t seed = 0; seed < count; ++seed) {
    random_templates::TemplateGenerator generator(seed);
    const jinja::Value variables = generator.variables();
    const std::string source = generator.make();
    auto parsed = ChatTemplate::parse(source, "t");
    ASSERT_TRUE(parsed) << source << "\n" << parsed.error().message();
    auto rendered =
        parsed->render(variables, {.now = LocalTime{.year = 2025, .month = 7, .day = 10, .hour = 12}, .limits = {}});
    if (!rendered) continue;
    ++rendered_templates;
    for (std::size_t i = 0; i < rendered->content.size(); ++i) {
      ASSERT_LT(rendered->content[i].begin, rendered->content[i].end) << source;
      ASSERT_LE(rendered->content[i].end, rendered->text.size()) << source;
      if (i != 0) {
        ASSERT_LT(rendered->content[i - 1].end, rendered->content[i].begin) << source;
      }
    }
    ASSERT_EQ(broken_mark(*rendered, marked_letters, template_letters), "") << "seed " << seed << "\n"
                                                                            << source << "\n"
                                                                            << rendered->text;
  }
  // The templates say something: most render, and both kinds of text come through.
  EXPECT_GT(rendered_templates, count * 2 / 3);
  EXPECT_GT(marked_letters, 10 * count);
  EXPECT_GT(template_letters, 3 * count);
}

TEST(ChatTemplate, survives_mutated_sources) {
  random_templates::survive_mutations({}, {}, random_templates::mutation_count(4000));
}

}  // namespace
