// Tokenizers against the reference: ids and decoded texts of real tokenizers, and of vocabulary-only GGUF files.
// Vectors: Hugging Face tokenizers 0.23.2 (bare tokenizer.json); llama.cpp's vocabulary tests.

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "tmodel/core/json.hpp"
#include "tmodel/core/os.hpp"
#include "tmodel/io/gguf.hpp"
#include "tmodel/text/stream_decoder.hpp"

namespace {
using namespace tmodel;

const std::string data = TMODEL_CONFORMANCE_DATA;

os::MappedFile open(const std::string& path) {
  auto file = os::MappedFile::open(path);
  EXPECT_TRUE(file) << path;
  return file ? std::move(*file) : os::MappedFile();
}

expected<Tokenizer> from_json(const std::string& path, std::string_view config = {}) {
  return Tokenizer::from_json(open(path).text(), config, path);
}

expected<Tokenizer> from_gguf(const std::string& path) {
  const os::MappedFile file = open(path);
  TensorSource source;
  TMODEL_CHECK(read_gguf(file.bytes(), path, source));
  return Tokenizer::from_gguf(source.metadata);
}

/// A loaded tokenizer under a name, or the end of the test.
#define LOAD(name, expression)                                   \
  const auto name##_loaded = expression;                         \
  ASSERT_TRUE(name##_loaded) << name##_loaded.error().message(); \
  const Tokenizer& name = *name##_loaded

std::vector<std::string_view> split(std::string_view text, std::string_view separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t at = text.find(separator);
    parts.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + separator.size());
  }
}

std::vector<token_t> ids_of(Json list) {
  std::vector<token_t> ids;
  for (Json item = list.first(); item; item = item.next()) ids.push_back(static_cast<token_t>(*item.integer()));
  return ids;
}

std::string streamed(const Tokenizer& tokenizer, const std::vector<token_t>& ids, bool skip_special) {
  auto stream = StreamDecoder::create(tokenizer, skip_special);
  std::string text;
  for (const token_t id : ids) {
    const std::string_view part = stream->push(id);
    EXPECT_EQ(tokenization::valid_prefix(part), part.size()) << "half a character was shown";
    text += part;
  }
  return text += stream->finish();
}

struct Vectors {
  std::string name, tokenizer;
};
void PrintTo(const Vectors& v, std::ostream* out) { *out << v.name; }

class ConformanceTokenizerVectors : public ::testing::TestWithParam<Vectors> {};

TEST_P(ConformanceTokenizerVectors, ids_and_texts_equal_the_reference) {
  LOAD(tokenizer, from_json(data + GetParam().tokenizer));
  const os::MappedFile file = open(data + "/tokenizer_vectors/" + GetParam().name + ".jsonl");
  int seen = 0;
  for (const std::string_view line : split(file.text(), "\n")) {
    if (line.empty()) continue;
    const auto document = JsonDocument::parse(line, GetParam().name);
    ASSERT_TRUE(document);
    const Json root = document->root();
    const std::string_view text = root["text"].string();
    SCOPED_TRACE(printable(text));
    ++seen;
    const std::vector<token_t> ids = ids_of(root["ids"]);
    EXPECT_EQ(*tokenizer.encode(text, {.add_special = false}), ids);
    EXPECT_EQ(*tokenizer.encode(text), ids_of(root["ids_special"]));
    EXPECT_EQ(*tokenizer.decode(ids, false), root["decoded"].string());
    EXPECT_EQ(*tokenizer.decode(ids, true), root["decoded_skip_special"].string());
    EXPECT_EQ(streamed(tokenizer, ids, false), root["decoded"].string());
    EXPECT_EQ(streamed(tokenizer, ids, true), root["decoded_skip_special"].string());
  }
  EXPECT_GT(seen, 50);
}

INSTANTIATE_TEST_SUITE_P(reference, ConformanceTokenizerVectors,
                         ::testing::Values(Vectors{"falcon", "/tokenizers/falcon/tokenizer.json"},
                                           Vectors{"gpt2", "/tokenizers/gpt2/tokenizer.json"},
                                           Vectors{"mistral03", "/tokenizers/mistral03/tokenizer.json"},
                                           Vectors{"phi-2", "/tokenizers/phi-2/tokenizer.json"},
                                           Vectors{"phi-3", "/tokenizers/phi-3/tokenizer.json"},
                                           Vectors{"qwen3", "/tokenizers/qwen3/tokenizer.json"},
                                           Vectors{"stories260K", "/models/stories260K/derived/hf/tokenizer.json"}),
                         [](const auto& info) {
                           std::string name = info.param.name;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

class ConformanceGgufVocabulary : public ::testing::TestWithParam<std::string> {};

TEST_P(ConformanceGgufVocabulary, ids_equal_the_published_ones) {
  const std::string base = data + "/gguf_vocab/" + GetParam() + ".gguf";
  LOAD(tokenizer, from_gguf(base));
  const os::MappedFile inputs = open(base + ".inp"), outputs = open(base + ".out");
  const auto texts = split(inputs.text(), "\n__ggml_vocab_test__\n");
  const auto lines = split(outputs.text(), "\n");
  ASSERT_GT(texts.size(), 40u);
  ASSERT_GE(lines.size() + 1, texts.size());
  for (std::size_t i = 0; i < texts.size() && i < lines.size(); ++i) {
    if (i + 1 == texts.size() && texts[i].empty()) break;  // behind the last separator
    SCOPED_TRACE(printable(texts[i]));
    std::vector<token_t> expected;
    for (const std::string_view word : split(lines[i], " "))
      if (!word.empty()) expected.push_back(static_cast<token_t>(std::stoi(std::string(word))));
    const auto ids = tokenizer.encode(texts[i], {.add_special = false, .parse_special = false});
    ASSERT_TRUE(ids) << ids.error().message();
    EXPECT_EQ(*ids, expected);
    EXPECT_EQ(streamed(tokenizer, *ids, false), *tokenizer.decode(*ids, false));
    EXPECT_EQ(*tokenizer.decode(*ids, false), texts[i]);
  }
}

INSTANTIATE_TEST_SUITE_P(published, ConformanceGgufVocabulary,
                         ::testing::Values("deepseek-coder", "deepseek-llm", "llama-spm", "mpt"), [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

TEST(ConformanceTokenizer, the_gguf_file_and_the_folder_of_one_model_give_the_same_ids) {
  const std::string folder = data + "/models/stories260K/derived";
  LOAD(gguf, from_gguf(folder + "/stories260K-f32.gguf"));
  LOAD(json, from_json(folder + "/hf/tokenizer.json"));
  EXPECT_EQ(gguf.vocab_size(), json.vocab_size());
  EXPECT_EQ(gguf.bos(), 1);
  EXPECT_TRUE(gguf.adds_bos());
  EXPECT_TRUE(gguf.is_end(2));
  const os::MappedFile vectors = open(data + "/tokenizer_vectors/stories260K.jsonl");
  const os::MappedFile shakespeare = open(data + "/text/tinyshakespeare.txt");
  std::vector<std::string> texts{std::string(shakespeare.text().substr(0, 100000))};
  for (const std::string_view line : split(vectors.text(), "\n"))
    if (!line.empty()) texts.emplace_back(JsonDocument::parse(line, "")->root()["text"].string());
  for (const std::string& text : texts) {
    EXPECT_EQ(*gguf.encode(text), *json.encode(text)) << printable(text);
    EXPECT_EQ(*gguf.decode(*gguf.encode(text), true), *json.decode(*json.encode(text), true));
  }
  for (token_t id = 0; id < json.vocab_size(); ++id) EXPECT_EQ(gguf.piece(id), json.piece(id)) << id;
}

TEST(ConformanceTokenizer, merging_by_score_and_by_rank_agree_on_the_vocabulary_that_llama_and_phi3_share) {
  LOAD(llama, from_gguf(data + "/gguf_vocab/llama-spm.gguf"));
  LOAD(phi3, from_json(data + "/tokenizers/phi-3/tokenizer.json"));
  for (const char* name :
       {"/text/tinyshakespeare.txt", "/text/wikitext-2-raw-test.txt", "/text/utf8_sequence_0x10ffff.txt"}) {
    const os::MappedFile file = open(data + name);
    std::string text(file.text());  // without what only one of the two has as a token
    for (std::size_t at = 0; (at = text.find("<|", at)) != std::string::npos;) text.replace(at, 2, "< |");
    const auto by_score = llama.encode(text, {.add_special = false, .parse_special = false});
    const auto by_rank = phi3.encode(text, {.add_special = false, .parse_special = false});
    ASSERT_TRUE(by_score && by_rank);
    EXPECT_TRUE(*by_score == *by_rank) << name;
  }
}

TEST(ConformanceTokenizer, a_folders_configuration_overrides_what_its_tokenizer_file_adds) {
  const std::string folder = data + "/tokenizers/phi-3";
  const os::MappedFile config = open(folder + "/tokenizer_config.json");
  LOAD(bare, from_json(folder + "/tokenizer.json"));
  LOAD(full, from_json(folder + "/tokenizer.json", config.text()));
  EXPECT_FALSE(bare.adds_bos());
  EXPECT_TRUE(full.adds_bos());
  EXPECT_EQ(full.bos(), 1);
  EXPECT_EQ(full.eos(), 32000);
  for (const token_t end : {2, 32000, 32007}) EXPECT_TRUE(full.is_end(end)) << end;
  auto expected = *bare.encode("Hello<|end|>");
  expected.insert(expected.begin(), 1);
  EXPECT_EQ(*full.encode("Hello<|end|>"), expected);
}

TEST(ConformanceTokenizer, every_unicode_character_survives_gpt2s_and_llamas_vocabulary) {
  const os::MappedFile file = open(data + "/text/utf8_sequence_0x10ffff.txt");
  const std::string text(file.text().substr(0, tokenization::valid_prefix(file.text())));
  ASSERT_GT(text.size(), 100000u);
  LOAD(llama, from_gguf(data + "/gguf_vocab/llama-spm.gguf"));
  std::string spaced = text;  // U+2581 is SentencePiece's own space and does not survive
  for (std::size_t at = 0; (at = spaced.find("\xE2\x96\x81", at)) != std::string::npos;) spaced.replace(at, 3, " ");
  EXPECT_TRUE(*llama.decode(*llama.encode(text, {.add_special = false}), false) == spaced);
  LOAD(gpt2, from_json(data + "/tokenizers/gpt2/tokenizer.json"));
  EXPECT_TRUE(*gpt2.decode(*gpt2.encode(text), false) == text);
}

/// Seconds that encoding takes.
double time_of(const Tokenizer& tokenizer, const std::string& text) {
  const auto start = std::chrono::steady_clock::now();
  const auto ids = tokenizer.encode(text);
  EXPECT_TRUE(ids);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

TEST(ConformanceTokenizer, one_word_of_a_megabyte_takes_time_in_proportion) {
  // Quadratic work would take minutes; the limit leaves room for sanitizers.
  LOAD(gpt2, from_json(data + "/tokenizers/gpt2/tokenizer.json"));
  LOAD(phi3, from_json(data + "/tokenizers/phi-3/tokenizer.json"));
  LOAD(qwen3, from_json(data + "/tokenizers/qwen3/tokenizer.json"));
  LOAD(llama, from_gguf(data + "/gguf_vocab/llama-spm.gguf"));
  std::string mixed, marks = "a";
  for (std::uint32_t i = 0, x = 1; i < 1000000; ++i)
    mixed += static_cast<char>('a' + (x = x * 1664525u + 1013904223u) % 26);
  while (marks.size() < 1000000)
    marks += marks.size() % 4 == 1 ? "\xCC\x81" : "\xCC\xA3";  // in canonical order nowhere
  for (const Tokenizer* tokenizer : {&gpt2, &phi3, &qwen3, &llama})
    for (const std::string& text : {std::string(1000000, 'a'), std::string(1000000, ' '), mixed, marks})
      EXPECT_LT(time_of(*tokenizer, text), 20.0) << tokenizer->kind() << ' ' << text.substr(0, 4);
}

std::vector<std::string> pieces_of(const std::vector<std::string_view>& expressions, std::string_view text) {
  using namespace tokenization;
  PreTokenizer splitter;
  for (const std::string_view expression : expressions) {
    const auto pattern = translate_regex(expression, "expression");
    EXPECT_TRUE(pattern) << expression << ": " << pattern.error().message();
    auto regex = Regex::compile(pattern.value_or("x"), "expression");
    EXPECT_TRUE(regex) << expression;
    splitter.steps.emplace_back().regex = std::move(*regex);
  }
  std::vector<std::string> pieces;
  PreTokenizerScratch scratch;
  EXPECT_TRUE(splitter.run(text, true, scratch, [&](std::string_view piece) -> expected<void> {
    pieces.emplace_back(piece);
    return {};
  }));
  return pieces;
}

TEST(ConformanceTokenizer, every_named_pre_tokenizer_splits_as_the_published_expressions_do) {
  const os::MappedFile table = open(data + "/pretokenizers.json"),
                       wikitext = open(data + "/text/wikitext-2-raw-test.txt");
  const auto document = JsonDocument::parse(table.text(), "pretokenizers.json");
  ASSERT_TRUE(document);
  std::string text(wikitext.text().substr(0, 20000));
  text +=
      "  '\u017F I'LL x'Ve 12345 \u0661\u0662\u0663\u0664 a1b22c333\t\t\r\n \n\n  --==(<|x|>)/ //\n \u00c9t\u00e9 "
      "\u4e2d\u6587\u5b57 \uac00\ub098 "
      "\u0928\u092e\u0938\u094d\u0924\u0947 e\u0301x \u2026\u3002a,b.c;d \u00b2\u00bd\u2167 AbcDEF\u01c5z "
      "\U0001F600\u00a0\u3000 ";
  int names = 0;
  for (Json entry = document->root().first(); entry; entry = entry.next()) {
    const std::string_view name = entry.key();
    const auto* known = tokenization::find_gguf_pretokenizer(name);
    const bool left_out = name == "_note" || name == "chameleon" || name.starts_with("jina-");
    EXPECT_EQ(known == nullptr, left_out) << name;
    if (known == nullptr || left_out) continue;
    std::vector<std::string_view> ours, published;
    for (const std::string_view expression : known->expressions)
      if (!expression.empty()) ours.push_back(expression);
    if (const Json original = entry["original"])
      published.push_back(original.string());
    else
      for (Json expression = entry["regex"].first(); expression; expression = expression.next())
        published.push_back(expression.string());
    EXPECT_EQ(pieces_of(ours, text), pieces_of(published, text)) << name;
    EXPECT_EQ(known->ignore_merges, entry["ignore_merges"].boolean()) << name;
    EXPECT_EQ(known->add_bos, entry["add_bos"].boolean()) << name;
    ++names;
  }
  EXPECT_EQ(names, 35);
}

TEST(ConformanceTokenizer, tokenizer_model_gives_the_ids_that_sentencepiece_published) {
  const os::MappedFile model = open(data + "/models/stories260K/derived/tokenizer.model");
  const os::MappedFile vectors = open(data + "/models/stories260K/derived/tokenizer_vectors_sentencepiece.jsonl");
  LOAD(tokenizer, Tokenizer::from_sentencepiece(model.text(), {}, "tokenizer.model"));
  int checked = 0;
  for (const std::string_view line : split(vectors.text(), "\n")) {
    if (line.empty()) continue;
    const auto document = JsonDocument::parse(line, "vectors");
    ASSERT_TRUE(document);
    const std::vector<token_t> want = ids_of(document->root()["ids"]);
    const auto text = document->root()["text"].string();
    EXPECT_EQ(tokenizer.encode(text, {.add_special = false, .parse_special = false}).value_or(std::vector<token_t>{}),
              want)
        << text;
    EXPECT_EQ(streamed(tokenizer, want, true), tokenizer.decode(want, true).value_or("?"));
    ++checked;
  }
  EXPECT_EQ(checked, 30);
}

}  // namespace
