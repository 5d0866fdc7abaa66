// Whole tokenizers from small files written here: pipelines, special tokens, configuration, streams, bad files.

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "tmodel/text/stream_decoder.hpp"

namespace {
using namespace tmodel;
using Ids = std::vector<token_t>;

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

// a=0 b=1 ab=2 G-dot a=4 ("Ġ"=3); bytes of é: Ã=5 ©=6
const std::string byte_level_json = R"({
  "added_tokens": [
    {"id": 7, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
    {"id": 8, "content": "<u>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": false}],
  "normalizer": null,
  "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
  "post_processor": {"type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    "special_tokens": {"<s>": {"id": "<s>", "ids": [7], "tokens": ["<s>"]}}},
  "decoder": {"type": "ByteLevel"},
  "model": {"type": "BPE", "dropout": null, "unk_token": null, "fuse_unk": false, "byte_fallback": false,
    "vocab": {"a": 0, "b": 1, "ab": 2, "Ġ": 3, "Ġa": 4, "Ã": 5, "©": 6}, "merges": ["a b", ["Ġ", "a"]]}})";

// <unk>=0 ▁=1 a=2 b=3 ▁a=4 then <0x00>..<0xFF>
std::string sentencepiece_json() {
  std::string vocab = R"("<unk>": 0, "▁": 1, "a": 2, "b": 3, "▁a": 4)";
  for (unsigned b = 0; b < 256; ++b)
    vocab += ", \"" + tokenization::byte_token_text(b) + "\": " + std::to_string(5 + b);
  return R"({"added_tokens": [{"id": 0, "content": "<unk>", "special": true, "normalized": false}],
  "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"},
    {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
  "pre_tokenizer": null, "post_processor": null,
  "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
    {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
  "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true,
    "vocab": {)" +
         vocab + R"(}, "merges": ["▁ a"]}})";
}

Tokenizer load(const std::string& json, const std::string& config = {}) {
  auto tokenizer = Tokenizer::from_json(json, config, "test");
  if (!tokenizer) ADD_FAILURE() << tokenizer.error().message();
  return tokenizer ? std::move(*tokenizer) : load(byte_level_json);
}
Error error_of(const std::string& json, const std::string& config = {}) {
  auto tokenizer = Tokenizer::from_json(json, config, "test");
  return tokenizer ? Error{Errc::bad_argument, "it was accepted", {}, {}, {}, {}} : tokenizer.error();
}

TEST(Tokenizer, byte_level_text_goes_to_ids_and_back) {
  const Tokenizer t = load(byte_level_json);
  EXPECT_EQ(t.kind(), "byte-level BPE");
  EXPECT_EQ(t.vocab_size(), 9);
  EXPECT_EQ(*t.encode("ab a\xC3\xA9"), (Ids{7, 2, 4, 5, 6}));
  EXPECT_EQ(*t.encode("ab", {.add_special = false}), Ids{2});
  EXPECT_EQ(*t.encode("z"), Ids{7});  // no token for the byte and no unknown token: the reference drops it
  EXPECT_EQ(*t.decode(Ids{7, 2, 4, 5, 6}, true), "ab a\xC3\xA9");
  EXPECT_EQ(*t.decode(Ids{7, 2}, false), "<s>ab");
  EXPECT_EQ(*t.decode(Ids{5, 0, 99, -1}, false),
            "\xEF\xBF\xBD"
            "a");  // half a character; ids that do not exist
  EXPECT_EQ(t.piece(4), " a");
  EXPECT_EQ(t.piece(5), "\xC3");
  EXPECT_EQ(t.piece(-1), "");
  EXPECT_EQ(t.piece(9), "");
  EXPECT_EQ(*t.token_text(4), "Ġa");
  EXPECT_EQ(t.find("Ġa"), 4);
  EXPECT_EQ(t.find("<s>"), 7);
  EXPECT_EQ(t.find(" a"), std::nullopt);
  EXPECT_EQ(t.find("\xFF"), std::nullopt);
  EXPECT_TRUE(t.is_special(7));
  EXPECT_FALSE(t.is_special(8));
  EXPECT_EQ(t.bos(), 7);
  EXPECT_TRUE(t.adds_bos());
  Ids appended{1};
  ASSERT_TRUE(t.encode("a", appended));
  EXPECT_EQ(appended, (Ids{1, 7, 0}));
}

TEST(Tokenizer, special_text_is_plain_where_the_caller_says_so) {
  const Tokenizer t = load(byte_level_json);
  EXPECT_EQ(*t.encode("<s>a<u>", {.add_special = false}), (Ids{7, 0, 8}));
  EXPECT_EQ(*t.encode("<s>a<u>", {.add_special = false, .parse_special = false}), (Ids{0, 8}));
  const Range plain[] = {{3, 6}};
  EXPECT_EQ(*t.encode("<s><s>a", {.add_special = false, .plain = plain}), (Ids{7, 0}));
}

TEST(Tokenizer, invalid_utf8_is_read_as_replacement_characters) {
  const Tokenizer t = load(sentencepiece_json());
  EXPECT_EQ(*t.encode("a\xFF"
                      "b"),
            *t.encode("a\xEF\xBF\xBD"
                      "b"));
  EXPECT_EQ(*t.encode("\xF0\x9F\x98"), *t.encode("\xEF\xBF\xBD"));
}

TEST(Tokenizer, sentencepiece_text_has_a_prefix_and_bytes_for_what_it_lacks) {
  const Tokenizer t = load(sentencepiece_json());
  EXPECT_EQ(t.kind(), "SentencePiece BPE");
  EXPECT_EQ(*t.encode("a b"), (Ids{4, 1, 3}));
  EXPECT_EQ(*t.encode(" a"), (Ids{1, 4}));
  EXPECT_EQ(*t.encode("\xC3\xA9"), (Ids{1, 5 + 0xC3, 5 + 0xA9}));
  EXPECT_EQ(*t.encode("<unk>a"), (Ids{0, 4}));  // the prefix stands in front of each part
  EXPECT_EQ(*t.encode(""), Ids{});
  EXPECT_EQ(*t.decode(Ids{4, 1, 3}, true), "a b");
  EXPECT_EQ(*t.decode(Ids{1, 4}, true), " a");
  EXPECT_EQ(*t.decode(Ids{4, 5 + 0xC3, 5 + 0xA9}, true), "a\xC3\xA9");
  // The reference gives one replacement character for each byte of a run that is not UTF-8 as a whole.
  EXPECT_EQ(*t.decode(Ids{5 + 0xC3, 5 + 0xA9, 5 + 0xC3, 4}, true), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD a");
  EXPECT_EQ(t.piece(4), " a");
  EXPECT_EQ(t.piece(5 + 0xC3), "\xC3");
  EXPECT_EQ(*t.token_text(5 + 0xC3), "<0xC3>");
  EXPECT_EQ(t.find("▁a"), 4);
}

TEST(Tokenizer, unknown_characters_are_fused_or_not_as_the_file_says) {
  std::string json = replaced(sentencepiece_json(), R"("byte_fallback": true)", R"("byte_fallback": false)");
  EXPECT_EQ(*load(json).encode("zza"), (Ids{1, 0, 2}));
  json = replaced(json, R"("fuse_unk": true)", R"("fuse_unk": false)");
  EXPECT_EQ(*load(json).encode("zza"), (Ids{1, 0, 0, 2}));
  json = replaced(json, R"("unk_token": "<unk>")", R"("unk_token": "<none>")");
  const Tokenizer t = load(json);
  EXPECT_TRUE(t.encode("a"));
  EXPECT_EQ(t.encode("z").error().code, Errc::bad_metadata);
}

TEST(Tokenizer, an_unknown_character_waits_behind_byte_tokens_as_in_the_reference) {
  const std::string json = replaced(sentencepiece_json(), R"("<0x5A>")", R"("<other>")");  // no token for the byte of Z
  EXPECT_EQ(*load(json).encode("Z\xC3\xA9"
                               "Za"),
            (Ids{1, 5 + 0xC3, 5 + 0xA9, 0, 2}));
}

TEST(Tokenizer, ignore_merges_takes_a_whole_piece_that_no_merge_makes) {
  std::string json = replaced(byte_level_json, R"("©": 6})", R"("©": 6, "ba": 9})");
  json = replaced(json, "\"id\": 7", "\"id\": 8");
  json = replaced(json, "\"id\": 8, \"content\": \"<u>\"", "\"id\": 10, \"content\": \"<u>\"");
  json = replaced(replaced(json, "\"id\": 10", "\"id\": 9"), "\"ba\": 9", "\"ba\": 7");
  json = replaced(json, "\"ids\": [7]", "\"ids\": [8]");
  EXPECT_EQ(*load(json).encode("ba", {.add_special = false}), (Ids{1, 0}));
  json = replaced(json, R"("byte_fallback": false,)", R"("byte_fallback": false, "ignore_merges": true,)");
  EXPECT_EQ(*load(json).encode("ba", {.add_special = false}), (Ids{7}));
}

TEST(Tokenizer, the_later_of_two_equal_merges_counts_and_a_version_line_is_skipped) {
  const std::string json =
      replaced(byte_level_json, R"("merges": ["a b",)", R"("merges": ["#version: 0.2", "a b", "a b",)");
  EXPECT_EQ(*load(json).encode("ab", {.add_special = false}), Ids{2});
}

TEST(Tokenizer, the_configuration_of_a_llama_class_rebuilds_what_is_put_around_a_text) {
  EXPECT_EQ(*load(byte_level_json,
                  R"({"tokenizer_class": "LlamaTokenizerFast", "bos_token": "<s>", "eos_token": {"content": "<u>"},
                                       "add_bos_token": false, "add_eos_token": true})")
                 .encode("a"),
            (Ids{0, 8}));
  EXPECT_EQ(*load(byte_level_json, R"({"tokenizer_class": "LlamaTokenizer", "bos_token": "<u>"})").encode("a"),
            (Ids{8, 0}));
  const Tokenizer other =
      load(byte_level_json, R"({"tokenizer_class": "GPT2Tokenizer", "bos_token": null, "eos_token": "<u>",
                                                    "add_bos_token": false})");
  EXPECT_EQ(*other.encode("a"), (Ids{7, 0}));
  EXPECT_EQ(other.bos(), -1);
  EXPECT_EQ(other.eos(), 8);
  EXPECT_TRUE(other.is_end(8));
  EXPECT_FALSE(other.is_end(7));
  EXPECT_TRUE(error_of(byte_level_json, R"({"tokenizer_class": "LlamaTokenizer", "bos_token": null})").code ==
              Errc::bad_metadata);
}

TEST(Tokenizer, the_configuration_changes_the_flags_of_added_tokens_and_adds_tokens) {
  const Tokenizer t =
      load(byte_level_json, R"({"added_tokens_decoder": {"8": {"content": "<u>", "rstrip": true, "special": true},
      "9": {"content": "<|im_end|>", "special": true}}, "additional_special_tokens": ["<|im_end|>", "ab"]})");
  EXPECT_EQ(*t.encode("<u> a<|im_end|>", {.add_special = false}), (Ids{8, 0, 9}));
  EXPECT_TRUE(t.is_special(8));
  EXPECT_TRUE(t.is_special(2));  // in the vocabulary, and named as special
  EXPECT_TRUE(t.is_end(9));
  EXPECT_EQ(t.vocab_size(), 10);
}

TEST(Tokenizer, the_configuration_may_switch_the_prefix_space) {
  EXPECT_EQ(*load(byte_level_json, R"({"add_prefix_space": true})").encode("a", {.add_special = false}), Ids{4});
}

TEST(Tokenizer, what_it_does_not_know_is_refused_by_name) {
  const auto refuses = [&](std::string_view from, std::string_view to, std::string_view name) {
    const Error error = error_of(replaced(byte_level_json, from, to));
    EXPECT_EQ(error.code, Errc::unsupported) << error.message();
    EXPECT_NE(error.message().find(name), std::string::npos) << error.message();
  };
  refuses(R"("type": "BPE")", R"("type": "WordPiece")", "WordPiece");
  refuses(R"("normalizer": null)", R"("normalizer": {"type": "BertNormalizer"})", "BertNormalizer");
  refuses(R"("decoder": {"type": "ByteLevel"})", R"("decoder": {"type": "CTC"})", "CTC");
  refuses(R"("decoder": {"type": "ByteLevel"})",
          R"("decoder": {"type": "Sequence", "decoders": [{"type": "Strip", "content": " ", "start": 1, "stop": 0}]})",
          "Strip");
  refuses(R"("pre_tokenizer": {"type": "ByteLevel")", R"("pre_tokenizer": {"type": "UnicodeScripts")",
          "UnicodeScripts");
  refuses(R"("type": "TemplateProcessing")", R"("type": "Magic")", "Magic");
  refuses(R"("dropout": null)", R"("dropout": 0.1)", "dropout");
  refuses(R"("dropout": null)", R"("end_of_word_suffix": "</w>")", "end_of_word_suffix");
  refuses(R"("dropout": null)", R"("continuing_subword_prefix": "##")", "continuing_subword_prefix");
  refuses(R"("id": 8)", R"("id": 12)", "12");
  refuses(
      R"("pre_tokenizer": {"type": "ByteLevel")",
      R"("pre_tokenizer": {"type": "Split", "pattern": {"Regex": "[a&&b]"}, "behavior": "Isolated"}, "x": {"type": "ByteLevel")",
      "intersection");
}

TEST(Tokenizer, a_normalised_added_token_is_matched_and_decoded_in_its_normal_form) {
  std::string json = replaced(byte_level_json, R"("normalizer": null)", R"("normalizer": {"type": "Lowercase"})");
  json =
      replaced(json, R"("content": "<u>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false)",
               R"("content": "<U>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": true)");
  const Tokenizer t = load(json);
  EXPECT_EQ(*t.encode("<U>A<u><S><s>", {.add_special = false}), (Ids{8, 0, 8, 7}));  // <S> has no tokens of its own
  EXPECT_EQ(*t.decode(Ids{8}, false), "<u>");
  EXPECT_EQ(*t.token_text(8), "<U>");
}

TEST(Tokenizer, damaged_files_are_errors) {
  const auto code = [&](std::string_view from, std::string_view to) {
    return error_of(replaced(byte_level_json, from, to)).code;
  };
  EXPECT_EQ(error_of("").code, Errc::bad_file);
  EXPECT_EQ(error_of("{}").code, Errc::bad_file);
  EXPECT_EQ(error_of("[]").code, Errc::bad_file);
  EXPECT_EQ(code(R"("a b")", R"("a c")"), Errc::bad_file);  // c is no token
  EXPECT_EQ(code(R"("a b")", R"("b a")"), Errc::bad_file);  // ba is no token
  EXPECT_EQ(code(R"("a b")", R"("a  b")"), Errc::bad_file);
  EXPECT_EQ(code(R"("a b")", R"("a")"), Errc::bad_file);
  EXPECT_EQ(code(R"("a b")", R"(["a"])"), Errc::bad_file);
  EXPECT_EQ(code(R"("a b")", "7"), Errc::bad_file);
  EXPECT_EQ(code(R"("b": 1)", R"("b": 0)"), Errc::bad_file);  // two tokens, one id
  EXPECT_EQ(code(R"("b": 1)", R"("b": -1)"), Errc::bad_file);
  EXPECT_EQ(code(R"("b": 1)", R"("b": 2000000000)"), Errc::bad_file);  // would allocate what the file does not hold
  EXPECT_EQ(code(R"("b": 1)", R"("b": "x")"), Errc::bad_file);
  EXPECT_EQ(code(R"("ids": [7])", R"("ids": [700])"), Errc::bad_file);
  EXPECT_EQ(code(R"("ids": [7])", R"("ids": [])"), Errc::bad_file);
  EXPECT_EQ(error_of(byte_level_json, "{").code, Errc::bad_file);
  EXPECT_EQ(error_of(byte_level_json, R"({"added_tokens_decoder": {"x": {"content": "y"}}})").code, Errc::bad_file);
  std::string deep;
  for (int i = 0; i < 40; ++i) deep += R"({"type": "Sequence", "normalizers": [{"type": "NFC"}, )";
  deep += R"({"type": "NFC"})";
  for (int i = 0; i < 40; ++i) deep += "]}";
  EXPECT_EQ(code(R"("normalizer": null)", "\"normalizer\": " + deep), Errc::unsupported);
}

TEST(Tokenizer, every_prefix_of_a_file_is_an_error_and_never_more) {
  const std::string whole = sentencepiece_json();
  for (std::size_t n = 0; n < whole.size(); n += 7)
    EXPECT_FALSE(Tokenizer::from_json(whole.substr(0, n), "", "test")) << n;
}

TEST(Tokenizer, a_cyclic_and_an_empty_token_do_no_harm) {
  std::string json = replaced(byte_level_json, R"("©": 6})", R"("©": 6, "": 9})");
  json = replaced(json, "\"id\": 7", "\"id\": 8");
  EXPECT_EQ(error_of(json).code, Errc::unsupported);  // <u> would get id 9
  json = replaced(replaced(byte_level_json, R"("©": 6})", R"("": 6})"), R"(["Ġ", "a"])", R"(["", "a"], ["a", ""])");
  const Tokenizer t = load(json);  // merges that make a of a: reachable by no text
  EXPECT_EQ(*t.encode("aab", {.add_special = false}), (Ids{0, 2}));
}

TEST(Tokenizer, memory_is_counted_and_grows_with_the_file) {
  const Tokenizer small = load(byte_level_json), large = load(sentencepiece_json());
  EXPECT_GT(small.memory_bytes(), 500u);
  EXPECT_GT(large.memory_bytes(), small.parts().vocabulary.bytes());
  EXPECT_LT(large.memory_bytes(), 100000u);
}

TEST(Tokenizer, one_tokenizer_serves_many_threads) {
  const Tokenizer t = load(sentencepiece_json());
  const Ids expected = *t.encode("a b \xC3\xA9 ab");
  std::vector<std::thread> threads;
  std::vector<int> wrong(4, 0);
  for (std::size_t i = 0; i < wrong.size(); ++i)
    threads.emplace_back([&, i] {
      for (int n = 0; n < 300; ++n) wrong[i] += *t.encode("a b \xC3\xA9 ab") != expected;
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

TEST(StreamDecoder, all_parts_together_are_the_decoded_text_and_no_part_is_half_a_character) {
  for (const std::string& json :
       {byte_level_json, sentencepiece_json(), replaced(byte_level_json, R"({"type": "ByteLevel"})", "null"),
        replaced(sentencepiece_json(), R"({"type": "Sequence", "decoders")", R"({"type": "Metaspace", "decoders")")}) {
    const Tokenizer t = load(json);
    for (const bool skip : {false, true}) {
      auto stream = StreamDecoder::create(t, skip);
      ASSERT_TRUE(stream);
      unsigned x = 3;
      for (int trial = 0; trial < 500; ++trial) {
        Ids ids;
        std::string shown;
        for (unsigned n = (x = x * 1664525u + 1013904223u) >> 28; n > 0; --n) {
          x = x * 1664525u + 1013904223u;
          const auto bytes = static_cast<unsigned>(t.vocab_size());
          ids.push_back(static_cast<token_t>(x >> 27 & 3 ? (x >> 8) % bytes : (x >> 8) % 9));
          const std::string_view part = stream->push(ids.back());
          EXPECT_EQ(tokenization::valid_prefix(part), part.size());
          shown += part;
        }
        shown += stream->finish();
        ASSERT_EQ(shown, *t.decode(ids, skip)) << trial;
      }
    }
  }
}

TEST(StreamDecoder, a_character_comes_when_its_last_byte_does) {
  const Tokenizer t = load(byte_level_json);
  auto stream = StreamDecoder::create(t);
  EXPECT_EQ(stream->push(5), "");
  EXPECT_EQ(stream->push(6), "\xC3\xA9");
  EXPECT_EQ(stream->push(7), "");
  EXPECT_EQ(stream->push(5), "");
  EXPECT_EQ(stream->push(0),
            "\xEF\xBF\xBD"
            "a");
  EXPECT_EQ(stream->push(5), "");
  EXPECT_EQ(stream->finish(), "\xEF\xBF\xBD");
  EXPECT_EQ(stream->finish(), "");
}

TEST(StreamDecoder, a_byte_run_without_end_does_not_grow_the_buffer) {
  const Tokenizer t = load(sentencepiece_json());
  auto stream = StreamDecoder::create(t);
  std::string shown;
  for (int i = 0; i < 20000; ++i) {
    shown += stream->push(5 + 0xC3);
    shown += stream->push(5 + 0xA9);
  }
  shown += stream->finish();
  std::string expected;
  for (int i = 0; i < 20000; ++i) expected += "\xC3\xA9";
  EXPECT_EQ(shown, expected);
}

/// Keys of a GGUF file, made by hand.
struct Keys {
  Metadata metadata;
  Keys(std::string model, const std::vector<std::string>& tokens, const std::vector<int>& types) {
    metadata.where = "test.gguf";
    metadata.insert("tokenizer.ggml.model", std::move(model));
    texts("tokenizer.ggml.tokens", tokens);
    numbers("tokenizer.ggml.token_type", MetaType::i32, types);
  }
  void texts(std::string key, const std::vector<std::string>& values) {
    std::vector<std::byte> raw;
    for (const std::string& value : values) {
      const std::uint64_t n = value.size();
      const std::size_t at = raw.size();
      raw.resize(at + 8 + value.size());
      std::memcpy(raw.data() + at, &n, 8);
      std::memcpy(raw.data() + at + 8, value.data(), value.size());
    }
    metadata.assign(std::move(key), MetaArray{MetaType::string, values.size(), metadata.own(std::move(raw))});
  }
  template <class T>
  void numbers(std::string key, MetaType type, const std::vector<T>& values) {
    std::vector<std::byte> raw(values.size() * sizeof(T));
    if (!raw.empty()) std::memcpy(raw.data(), values.data(), raw.size());
    metadata.assign(std::move(key), MetaArray{type, values.size(), metadata.own(std::move(raw))});
  }
};

Keys gpt2_keys() {
  Keys keys("gpt2", {"a", "b", "ab", "Ġ", "Ġa", "<|im_end|>", "<tool>", "[PAD7]"}, {1, 1, 1, 1, 1, 3, 4, 5});
  keys.texts("tokenizer.ggml.merges", {"a b", "Ġ a"});
  keys.metadata.insert("tokenizer.ggml.pre", std::string("gpt-2"));
  return keys;
}
Keys llama_keys() {
  Keys keys("llama", {"<unk>", "<s>", "</s>", "<0x0A>", "▁", "a", "▁a", "aa", "<u>"}, {2, 3, 3, 6, 1, 1, 1, 1, 4});
  keys.numbers("tokenizer.ggml.scores", MetaType::f32, std::vector<f32>{0, 0, 0, 0, -5, -6, -1, -2, 0});
  return keys;
}
Tokenizer load(const Keys& keys) {
  auto tokenizer = Tokenizer::from_gguf(keys.metadata);
  if (!tokenizer) ADD_FAILURE() << tokenizer.error().message();
  return tokenizer ? std::move(*tokenizer) : load(byte_level_json);
}
Errc code_of(const Keys& keys) {
  auto tokenizer = Tokenizer::from_gguf(keys.metadata);
  return tokenizer ? Errc::cancelled : tokenizer.error().code;
}

TEST(TokenizerGguf, byte_level_vocabularies_are_read) {
  const Tokenizer t = load(gpt2_keys());
  EXPECT_EQ(t.kind(), "byte-level BPE");
  EXPECT_FALSE(t.adds_bos());
  EXPECT_EQ(*t.encode("ab a"), (Ids{2, 4}));
  EXPECT_EQ(*t.encode("a<|im_end|><tool>[PAD7]"), (Ids{0, 5, 6}));  // padding is never matched; [ and P are no tokens
  EXPECT_EQ(*t.encode("<|im_end|><tool>", {.parse_special = false}), (Ids{6}));  // user-defined ones match always
  EXPECT_EQ(t.piece(4), " a");
  EXPECT_TRUE(t.is_special(5));
  EXPECT_FALSE(t.is_special(6));
  EXPECT_TRUE(t.is_end(5));
  EXPECT_EQ(t.eos(), -1);
  EXPECT_EQ(t.find("Ġa"), 4);
}

TEST(TokenizerGguf, bos_and_eos_are_put_as_the_file_says) {
  Keys keys = gpt2_keys();
  keys.metadata.insert("tokenizer.ggml.bos_token_id", std::uint64_t{5});
  keys.metadata.insert("tokenizer.ggml.eos_token_id", std::uint64_t{6});
  keys.metadata.insert("tokenizer.ggml.add_bos_token", true);
  keys.metadata.insert("tokenizer.ggml.add_eos_token", true);
  EXPECT_EQ(*load(keys).encode("a"), (Ids{5, 0, 6}));
  keys.metadata.assign("tokenizer.ggml.bos_token_id", std::uint64_t{500});
  EXPECT_EQ(code_of(keys), Errc::bad_metadata);
}

TEST(TokenizerGguf, sentencepiece_vocabularies_merge_by_score) {
  const Tokenizer t = load(llama_keys());
  EXPECT_EQ(t.kind(), "SentencePiece BPE");
  EXPECT_TRUE(t.adds_bos());
  EXPECT_EQ(*t.encode("aaa"), (Ids{1, 6, 7}));      // ▁a scores higher than aa
  EXPECT_EQ(*t.encode("a\nz"), (Ids{1, 6, 3, 0}));  // a byte token, and a character without one
  EXPECT_EQ(*t.encode("<s>a"), (Ids{1, 1, 6}));
  EXPECT_EQ(*t.decode(*t.encode("a aa"), true), "a aa");
  EXPECT_TRUE(t.is_end(2));
  Keys keys = llama_keys();
  keys.metadata.insert("tokenizer.ggml.add_space_prefix", false);
  EXPECT_EQ(*load(keys).encode("aaa"), (Ids{1, 7, 5}));
  keys.metadata.insert("general.name", std::string("Phi-3 mini"));
  EXPECT_EQ(*load(keys).encode("<u> \naa"), (Ids{1, 8, 7}));  // the white space behind it goes
}

TEST(TokenizerGguf, files_with_a_normalizer_are_read_as_sentencepiece_would) {
  Keys keys = llama_keys();
  keys.metadata.insert("tokenizer.ggml.remove_extra_whitespaces", true);
  EXPECT_EQ(*load(keys).encode("  a  aa "), (Ids{1, 6, 6, 5}));
  EXPECT_EQ(*load(keys).decode(Ids{1, 6, 6, 5}, true), "a aa");
  keys.metadata.assign("tokenizer.ggml.model", std::string("t5"));  // unigram: EOS behind the text, id 1 by default
  EXPECT_EQ(*load(keys).encode("  a  aa<u> "), (Ids{6, 4, 7, 8, 1}));
  EXPECT_EQ(load(keys).kind(), "unigram");
}

TEST(TokenizerGguf, unknown_kinds_and_damaged_keys_are_errors) {
  Keys keys = gpt2_keys();
  keys.metadata.assign("tokenizer.ggml.pre", std::string("chameleon"));
  EXPECT_EQ(code_of(keys), Errc::unsupported);
  keys.metadata.assign("tokenizer.ggml.model", std::string("rwkv"));
  EXPECT_EQ(code_of(keys), Errc::unsupported);
  EXPECT_EQ(code_of(Keys("llama", {"a"}, {1})), Errc::bad_metadata);  // no scores
  EXPECT_EQ(code_of(Keys("gpt2", {"a"}, {1})), Errc::bad_metadata);   // no merges
  EXPECT_EQ(code_of(Keys("gpt2", {}, {})), Errc::bad_metadata);
  EXPECT_EQ(code_of(Keys("gpt2", {"a", "b"}, {1})), Errc::bad_metadata);
  keys = gpt2_keys();
  keys.texts("tokenizer.ggml.merges", {"a c"});
  EXPECT_EQ(code_of(keys), Errc::bad_metadata);
  keys.texts("tokenizer.ggml.merges", {"ab"});
  EXPECT_EQ(code_of(keys), Errc::bad_metadata);
  keys.texts("tokenizer.ggml.merges", {""});
  EXPECT_EQ(code_of(keys), Errc::bad_metadata);
  keys = llama_keys();
  keys.numbers("tokenizer.ggml.scores", MetaType::f32, std::vector<f32>(9, std::numeric_limits<f32>::quiet_NaN()));
  EXPECT_EQ(code_of(keys), Errc::bad_metadata);
  keys = llama_keys();
  keys.numbers("tokenizer.ggml.precompiled_charsmap", MetaType::f32, std::vector<f32>(4, 1));
  EXPECT_EQ(code_of(keys), Errc::bad_metadata);
  Metadata none;
  EXPECT_FALSE(Tokenizer::from_gguf(none));
}

TEST(TokenizerGguf, every_pre_tokenizer_of_the_table_compiles) {
  for (const auto& entry : tokenization::gguf_pretokenizers)
    for (const std::string_view name : entry.names) {
      if (name.empty()) continue;
      Keys keys = gpt2_keys();
      keys.metadata.assign("tokenizer.ggml.pre", std::string(name));
      keys.metadata.assign("tokenizer.ggml.bos_token_id", std::uint64_t{5});
      EXPECT_EQ(load(keys).encode("ab a", {.add_special = false}), (Ids{2, 4})) << name;
    }
}

}  // namespace
