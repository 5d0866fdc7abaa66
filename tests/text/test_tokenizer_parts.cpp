// The parts of a tokenizer, each alone: UTF-8, normal forms, expressions, splitting, merging, added tokens.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tmodel/text/regex_syntax.hpp"
#include "tmodel/text/tokenizer_parts.hpp"

namespace {
using namespace tmodel;
using namespace tmodel::tokenization;

std::string lossy(std::string_view bytes) {
  std::string out;
  append_lossy(out, bytes);
  return out;
}

TEST(Unicode, each_maximal_invalid_part_becomes_one_replacement_character) {
  const std::string r(replacement_text);
  EXPECT_EQ(lossy("a\xFF\xFE"
                  "b"),
            "a" + r + r + "b");
  EXPECT_EQ(lossy("\xF0\x90\x80"
                  "A"),
            r + "A");                                   // a truncated character is one part
  EXPECT_EQ(lossy("\xE0\x80\x80"), r + r + r);          // overlong: no byte of it can start one
  EXPECT_EQ(lossy("\xED\xA0\x80"), r + r + r);          // surrogate
  EXPECT_EQ(lossy("\xF4\x90\x80\x80"), r + r + r + r);  // past U+10FFFF
  EXPECT_EQ(lossy("\xC3"), r);
  EXPECT_EQ(lossy("0123456\xC3\xA9"), "0123456\xC3\xA9");
  EXPECT_TRUE(step_utf8("\xE2\x82").truncated);
  EXPECT_FALSE(step_utf8("\xE2\x28").truncated);
}

TEST(Unicode, every_character_is_encoded_and_decoded) {
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string s;
    append_utf8(s, c);
    ASSERT_EQ(decode_utf8(s), c);
    ASSERT_EQ(utf8_length_of(s[0]), s.size());
    ASSERT_EQ(valid_prefix(s), s.size());
    ASSERT_EQ(last_of_utf8("x" + s), c);
  }
}

std::string normal(NormalForm form, std::string_view in) {
  std::string out;
  EXPECT_TRUE(normalize(form, in, out));
  return out;
}

TEST(Unicode, normal_forms_compose_and_decompose) {
  EXPECT_EQ(normal(NormalForm::nfc, "e\xCC\x81t\xC3\xA9"), "\xC3\xA9t\xC3\xA9");
  EXPECT_EQ(normal(NormalForm::nfd, "\xC3\xA9x"), "e\xCC\x81x");
  EXPECT_EQ(normal(NormalForm::nfkc, "\xEF\xAC\x81"), "fi");
  EXPECT_EQ(normal(NormalForm::nfc, "\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8"),
            "\xEA\xB0\x81");                                                       // three jamo: one syllable
  EXPECT_EQ(normal(NormalForm::nfc, "\xEA\xB0\x80\xE1\x86\xA8"), "\xEA\xB0\x81");  // syllable and jamo
  EXPECT_EQ(normal(NormalForm::nfc, "\xE2\x84\xAB"), "\xC3\x85");                  // Angstrom sign
  EXPECT_EQ(normal(NormalForm::nfc, "\xE0\xA4\x95\xE0\xA4\xBC"), "\xE0\xA4\x95\xE0\xA4\xBC");  // composition exclusion
  EXPECT_EQ(normal(NormalForm::nfc, "01234567 <\xCC\xB8"), "01234567 \xE2\x89\xAE");  // composes with ASCII before it
  EXPECT_EQ(normal(NormalForm::nfc, "\xE3\x81\x8B\xE3\x82\x99"), "\xE3\x81\x8C");     // ka with voiced mark
  EXPECT_EQ(normal(NormalForm::nfd, "a\xCC\x81\xCC\xA3"), "a\xCC\xA3\xCC\x81");       // canonical order
  EXPECT_EQ(normal(NormalForm::nfc, ""), "");
}

TEST(Unicode, what_the_fast_way_leaves_alone_the_normal_form_leaves_alone) {
  // Each inert character, alone and between others, must come out as it is by the slow way too.
  std::vector<utf8proc_int32_t> buffer;
  for (char32_t c = 0x80; c < 0x20000; ++c) {
    if ((c >= 0xD800 && c < 0xE000) || !tokenization::detail::is_inert(NormalForm::nfc, c)) continue;
    std::string s = "a", out;
    append_utf8(s, c);
    ASSERT_TRUE(tokenization::detail::normalize_segment(NormalForm::nfc, s, buffer, out));
    ASSERT_EQ(out, s) << std::hex << static_cast<unsigned>(c);
    ASSERT_EQ(utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->combining_class, 0);
  }
}

std::string translated(std::string_view pattern) {
  const auto result = translate_regex(pattern, "test");
  return result ? *result : "refused: " + result.error().what;
}

std::vector<std::string> pieces(const PreTokenizer& pre, std::string_view text, bool at_start = true) {
  PreTokenizerScratch scratch;
  std::vector<std::string> list;
  EXPECT_TRUE(pre.run(text, at_start, scratch, [&](std::string_view piece) -> expected<void> {
    list.emplace_back(piece);
    return {};
  }));
  return list;
}

PreTokenizer split_at(std::string_view pattern, SplitBehavior behavior = SplitBehavior::isolated, bool invert = false) {
  PreTokenizer pre;
  PreTokenizerStep step;
  auto expression = translate_regex(pattern, "test");
  EXPECT_TRUE(expression) << pattern;
  auto regex = Regex::compile(*expression, "test");
  EXPECT_TRUE(regex) << *expression;
  step.regex = std::move(*regex);
  step.behavior = behavior;
  step.invert = invert;
  pre.steps.push_back(std::move(step));
  return pre;
}

using Pieces = std::vector<std::string>;

TEST(RegexSyntax, means_what_oniguruma_means_by_it) {
  EXPECT_EQ(pieces(split_at("\\h+"), "xyz abc 12"), (Pieces{"xyz ", "abc", " ", "12"}));  // hexadecimal digits
  EXPECT_EQ(pieces(split_at("a$"), "a\na b a"), (Pieces{"a", "\na b ", "a"}));            // $ ends each line
  EXPECT_EQ(pieces(split_at("\\d{1,3}+"), "123456789"), (Pieces{"123456789"}));           // not possessive
  EXPECT_EQ(pieces(split_at("\\d{,2}x"), "123x"), (Pieces{"1", "23x"}));
  EXPECT_EQ(pieces(split_at("\\s+"),
                   "a\xE1\xA0\x8E"
                   "b\xC2\x85"
                   "c"),
            (Pieces{"a\xE1\xA0\x8E"
                    "b",
                    "\xC2\x85", "c"}));                                             // not U+180E
  EXPECT_EQ(pieces(split_at("\\w+"), "x\xC2\xB2-"), (Pieces{"x\xC2\xB2", "-"}));    // superscript two is a word
  EXPECT_EQ(pieces(split_at("[\\w]+"), "x\xC2\xB2-"), (Pieces{"x", "\xC2\xB2-"}));  // character, but not in a class
  EXPECT_EQ(pieces(split_at("(?i:'s|'LL)"), "a'Sb'll'\xC5\xBF"), (Pieces{"a", "'S", "b", "'ll", "'\xC5\xBF"}));
  EXPECT_EQ(pieces(split_at("\\p{Han}+"),
                   "ab\xE4\xBD\xA0\xE5\xA5\xBD"
                   "c"),
            (Pieces{"ab", "\xE4\xBD\xA0\xE5\xA5\xBD", "c"}));
  EXPECT_EQ(pieces(split_at("[a-c-e]+"), "d-c"), (Pieces{"d", "-c"}));  // no range from c to e
  EXPECT_EQ(pieces(split_at("\\u00e9|\\x{1F600}"), "\xC3\xA9\xF0\x9F\x98\x80z"),
            (Pieces{"\xC3\xA9", "\xF0\x9F\x98\x80", "z"}));
  EXPECT_EQ(pieces(split_at("\\bb"), "ab b"), (Pieces{"ab ", "b"}));
  EXPECT_EQ(pieces(split_at("x*"), "axxb"), (Pieces{"a", "xx", "b"}));  // empty matches cut too
}

TEST(RegexSyntax, refuses_by_name_what_it_does_not_know) {
  for (const char* pattern : {"[a[bc]]",
                              "[a-z&&[^b]]",
                              "\\X",
                              "\\Ka",
                              "(?<n>a)",
                              "(?#c)",
                              "a(?i)b",
                              "\\p{Alpha}",
                              "(?i:\\p{Lu})",
                              "[[:alpha:]]",
                              "a{2}?",
                              "\\1",
                              "(a",
                              "a)",
                              "[a",
                              "a\\",
                              "*a",
                              "\\x80",
                              "(?m:.)",
                              "(*FAIL)",
                              "[]a]",
                              "\\p{L",
                              "[\\d-\\s]x[a-\\d]",
                              "\\xZZ",
                              "\\x{110000}",
                              "\\pL",
                              "a**",
                              "^*"})
    EXPECT_EQ(translated(pattern).rfind("refused: ", 0), 0u) << pattern << " became " << translated(pattern);
  EXPECT_EQ(translated(std::string(200, '(') + std::string(200, ')')).rfind("refused: ", 0), 0u);
}

TEST(PreTokenizer, split_behaviours_are_the_references) {
  const auto run = [](SplitBehavior behavior, bool invert = false) {
    return pieces(split_at("-", behavior, invert), "-a--b-c-");
  };
  EXPECT_EQ(run(SplitBehavior::isolated), (Pieces{"-", "a", "-", "-", "b", "-", "c", "-"}));
  EXPECT_EQ(run(SplitBehavior::removed), (Pieces{"a", "b", "c"}));
  EXPECT_EQ(run(SplitBehavior::removed, true), (Pieces{"-", "-", "-", "-", "-"}));
  EXPECT_EQ(run(SplitBehavior::merged_with_previous), (Pieces{"-", "a-", "-", "b-", "c-"}));
  EXPECT_EQ(run(SplitBehavior::merged_with_next), (Pieces{"-a", "-", "-b", "-c", "-"}));
  EXPECT_EQ(run(SplitBehavior::contiguous), (Pieces{"-", "a", "--", "b", "-", "c", "-"}));
}

TEST(PreTokenizer, metaspace_marks_the_start_by_its_scheme) {
  const auto run = [](PrependScheme scheme, std::string_view text, bool at_start) {
    PreTokenizer pre;
    PreTokenizerStep step;
    step.kind = PreTokenizerStep::Kind::mark_spaces;
    step.text = "_";
    step.scheme = scheme;
    pre.steps.push_back(std::move(step));
    return pieces(pre, text, at_start);
  };
  EXPECT_EQ(run(PrependScheme::first, "a b", true), Pieces{"_a_b"});
  EXPECT_EQ(run(PrependScheme::first, "a b", false), Pieces{"a_b"});
  EXPECT_EQ(run(PrependScheme::always, "a b", false), Pieces{"_a_b"});
  EXPECT_EQ(run(PrependScheme::always, " a", true), Pieces{"_a"});
  EXPECT_EQ(run(PrependScheme::never, "a b", true), Pieces{"a_b"});
}

TEST(ByteLevel, the_alphabet_is_a_bijection_with_the_space_at_u0120) {
  EXPECT_EQ(byte_alphabet[' '], 0x120u);
  EXPECT_EQ(byte_alphabet['\n'], 0x10Au);
  EXPECT_EQ(byte_alphabet['A'], 'A');
  EXPECT_EQ(byte_alphabet[0xAD], 0x143u);
  for (unsigned b = 0; b < 256; ++b) {
    const std::string byte(1, static_cast<char>(b));
    std::string mapped, back;
    append_mapped(mapped, byte);
    ASSERT_TRUE(append_unmapped(back, mapped));
    ASSERT_EQ(back, byte);
  }
  std::string kept = "x";
  EXPECT_FALSE(append_unmapped(kept, "a b"));  // a plain space is not in the alphabet
  EXPECT_EQ(kept, "x");
}

/// A vocabulary of characters a..d and what the merges make, to compare both ways of merging with the definition.
struct Merges {
  Vocabulary vocabulary;
  Bpe bpe;
};
Merges random_merges(unsigned seed, int count) {
  Merges m;
  std::vector<std::string> tokens{"a", "b", "c", "d"};
  std::vector<std::array<std::size_t, 3>> merges;
  unsigned x = seed;
  const auto draw = [&](std::size_t n) { return (x = x * 1664525u + 1013904223u, (x >> 8) % n); };
  while (static_cast<int>(merges.size()) < count) {
    const std::size_t left = draw(tokens.size()), right = draw(tokens.size());
    const std::string joined = tokens[left] + tokens[right];
    if (joined.size() > 12) continue;
    const auto it = std::find(tokens.begin(), tokens.end(), joined);
    merges.push_back({left, right, static_cast<std::size_t>(it - tokens.begin())});
    if (it == tokens.end()) tokens.push_back(joined);
  }
  for (const auto& token : tokens)
    EXPECT_TRUE(m.vocabulary.add(token, token, token_exists | token_in_model | token_plain));
  EXPECT_TRUE(m.vocabulary.build_index());
  m.bpe.merges = std::move(*PairTable::allocate(merges.size()));
  std::uint32_t rank = 0;
  for (const auto& [l, r, id] : merges)
    EXPECT_TRUE(
        m.bpe.merges.insert(static_cast<token_t>(l), static_cast<token_t>(r), {rank++, static_cast<token_t>(id)}));
  m.bpe.byte_tokens.fill(-1);
  m.bpe.finish(m.vocabulary);
  return m;
}

/// The definition: again and again the pair of lowest rank, leftmost first.
std::vector<token_t> by_definition(const Merges& m, std::string_view word) {
  std::vector<token_t> ids;
  for (const char c : word) ids.push_back(c - 'a');
  for (;;) {
    std::size_t best = 0;
    Merge lowest;
    for (std::size_t i = 0; i + 1 < ids.size(); ++i)
      if (const Merge merge = m.bpe.merges.find(ids[i], ids[i + 1]); merge.rank < lowest.rank) lowest = merge, best = i;
    if (lowest.rank == Merge::never) return ids;
    ids[best] = lowest.id;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
}

TEST(Bpe, merging_is_by_lowest_rank_and_leftmost_for_short_and_long_words) {
  unsigned x = 7;
  for (unsigned seed = 1; seed <= 40; ++seed) {
    const Merges m = random_merges(seed, 60);
    BpeScratch scratch;
    for (int trial = 0; trial < 60; ++trial) {
      std::string word;
      const std::size_t length = 1 + (x = x * 1664525u + 1013904223u, (x >> 8) % 120);
      for (std::size_t i = 0; i < length; ++i)
        word += static_cast<char>('a' + (x = x * 1664525u + 1013904223u, x >> 28 & 3));
      std::vector<token_t> ids;
      ASSERT_TRUE(m.bpe.encode(m.vocabulary, word, scratch, ids));
      ASSERT_EQ(ids, by_definition(m, word)) << word;
    }
  }
}

TEST(Bpe, equal_scores_merge_from_the_left_and_higher_ones_first) {
  Vocabulary vocabulary;
  for (const char* token : {"a", "b", "ab", "aa", "aab", "bb"})
    ASSERT_TRUE(vocabulary.add(token, token, token_exists | token_in_model));
  ASSERT_TRUE(vocabulary.build_index());
  Bpe bpe;
  bpe.by_score = true;
  bpe.byte_tokens.fill(-1);
  bpe.unknown = 5;
  bpe.priority = std::move(*FlatArray<std::uint32_t>::allocate(6));
  const std::uint32_t places[] = {9, 9, 1, 1, 2, 3};
  for (std::size_t i = 0; i < 6; ++i) bpe.priority[i] = places[i];
  bpe.finish(vocabulary);
  BpeScratch scratch;
  const auto ids = [&](std::string_view word) {
    std::vector<token_t> out;
    EXPECT_TRUE(bpe.encode(vocabulary, word, scratch, out));
    return out;
  };
  EXPECT_EQ(ids("aab"), (std::vector<token_t>{4}));  // aa (left of ab), then aab
  EXPECT_EQ(ids("abab"), (std::vector<token_t>{2, 2}));
  EXPECT_EQ(ids("aaab"), (std::vector<token_t>{3, 2}));    // aa at 0; ab at 2 is as early; aaab is no token
  EXPECT_EQ(ids("axb"), (std::vector<token_t>{0, 5, 1}));  // unknown character
  const std::string many(50, 'b');                         // the heap
  EXPECT_EQ(ids(many), std::vector<token_t>(25, 5));
}

TEST(Vocabulary, the_higher_id_of_two_equal_texts_is_found) {
  Vocabulary vocabulary;
  for (const char* token : {"same", "other", "same", "hidden"})
    ASSERT_TRUE(vocabulary.add(token, token, token_exists | (token[0] == 'h' ? 0u : token_in_model)));
  ASSERT_TRUE(vocabulary.build_index());
  EXPECT_EQ(vocabulary.find("same"), 2);
  EXPECT_EQ(vocabulary.find("other"), 1);
  EXPECT_EQ(vocabulary.find("hidden"), -1);
  EXPECT_EQ(vocabulary.find("absent"), -1);
  EXPECT_EQ(vocabulary.find(""), -1);
}

TEST(Vocabulary, texts_made_to_collide_are_refused_not_searched) {
  // 4,200 texts that all want the first 64 of 16,384 places: each search would walk thousands of places.
  Vocabulary vocabulary;
  int n = 0;
  for (int i = 0; n < 4200; ++i) {
    const std::string token = std::to_string(i);
    if ((hash_bytes(token) & (table_size(4200) - 1)) >= 64) continue;
    ASSERT_TRUE(vocabulary.add(token, token, token_exists | token_in_model));
    ++n;
  }
  const auto built = vocabulary.build_index();
  ASSERT_FALSE(built);
  EXPECT_EQ(built.error().code, Errc::bad_file);
}

std::string cut(const AddedTokens& tokens, std::string_view text, const SpecialRule& rule = {}) {
  std::vector<Segment> segments;
  tokens.split(text, rule, segments);
  std::string out;
  for (const Segment& s : segments) {
    if (!out.empty()) out += '|';
    out += text.substr(s.begin, s.end - s.begin);
    if (s.id >= 0) out += '#' + std::to_string(s.id);
  }
  return out;
}
AddedToken added(std::string content, token_t id) {
  AddedToken token;
  token.content = std::move(content);
  token.id = id;
  return token;
}
AddedTokens build(std::vector<AddedToken> tokens, AddedTokens::Order order = AddedTokens::Order::leftmost_longest) {
  auto result = AddedTokens::build(tokens, order);
  EXPECT_TRUE(result);
  return std::move(*result);
}

TEST(AddedTokens, the_leftmost_longest_one_matches) {
  const AddedTokens tokens = build({added("xy", 1), added("xyz", 2), added("yz", 3), added("x", 4)});
  EXPECT_EQ(cut(tokens, "axyzxyx yz"), "a|xyz#2|xy#1|x#4| |yz#3");
  EXPECT_EQ(cut(tokens, ""), "");
  EXPECT_EQ(cut(tokens, "abc"), "abc");
}

TEST(AddedTokens, gguf_files_match_the_longest_one_first_over_the_whole_text) {
  const std::vector<AddedToken> list{added("ab", 1), added("bcd", 2), added("b", 3)};
  EXPECT_EQ(cut(build(list), "abcd"), "ab#1|cd");
  EXPECT_EQ(cut(build(list, AddedTokens::Order::longest_first), "abcdab"), "a|bcd#2|ab#1");
  // "ccc" loses its place to the longer one before it, and a shorter token takes what is left of it.
  const std::vector<AddedToken> runs{added("xcc", 1), added("cc", 2), added("c", 3)};
  EXPECT_EQ(cut(build(runs, AddedTokens::Order::longest_first), "xcccc"), "xcc#1|cc#2");
  EXPECT_EQ(cut(build(runs, AddedTokens::Order::longest_first), "xccc"), "xcc#1|c#3");
}

TEST(AddedTokens, strips_take_white_space_and_words_stay_whole) {
  AddedToken right = added("<r>", 1), left = added("<l>", 2), word = added("w", 3);
  right.rstrip = left.lstrip = word.single_word = true;
  const AddedTokens tokens = build({right, left, word});
  EXPECT_EQ(cut(tokens,
                "a<r> \n\xC2\xA0"
                "b"),
            "a|<r> \n\xC2\xA0#1|b");
  EXPECT_EQ(cut(tokens, "a \t<l>b"), "a| \t<l>#2|b");
  EXPECT_EQ(cut(tokens, "<r>  <l>"), "<r>  #1|<l>#2");
  EXPECT_EQ(cut(tokens, "w aw (w) _w w\xCC\x81 \xE2\x92\xB6w"), "w#3| aw (|w#3|) _w w\xCC\x81 \xE2\x92\xB6w");
  const AddedTokens gguf = build({right, left}, AddedTokens::Order::longest_first);
  EXPECT_EQ(cut(gguf, "a<r>  b  <l>c"), "a|<r>#1|b|<l>#2|c");
}

TEST(AddedTokens, special_ones_are_left_alone_where_the_rule_says_so) {
  AddedToken special = added("<s>", 1);
  special.special = true;
  for (const auto order : {AddedTokens::Order::leftmost_longest, AddedTokens::Order::longest_first}) {
    const AddedTokens tokens = build({special, added("<u>", 2)}, order);
    EXPECT_EQ(cut(tokens, "<s><u>"), "<s>#1|<u>#2");
    EXPECT_EQ(cut(tokens, "<s><u>", {false, {}}), "<s>|<u>#2");
    const Range plain[] = {{3, 8}};
    EXPECT_EQ(cut(tokens, "<s> <s> <s>", {true, plain}), "<s>#1| <s> |<s>#1");
    const Range touching[] = {{2, 3}};
    EXPECT_EQ(cut(tokens, "<s><s>", {true, touching}), "<s>|<s>#1");
  }
}

}  // namespace
