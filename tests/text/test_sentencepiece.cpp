// SentencePiece models without the library, and tiktoken files, from small files written here: ids worked out by hand,
// damage of every kind. The comparison with the libraries themselves is tools/fuzz_tokenizers.py.

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "tmodel/text/stream_decoder.hpp"

namespace {
using namespace tmodel;
using tokenization::Charsmap;
using PieceIds = std::vector<token_t>;

/// A protobuf message, as far as a tokenizer.model needs it.
struct Proto {
  std::string bytes;
  Proto& varint(std::uint64_t v) {
    for (; v >= 0x80; v >>= 7) bytes += static_cast<char>(static_cast<unsigned char>(v | 0x80));
    bytes += static_cast<char>(v);
    return *this;
  }
  Proto& number(unsigned field, std::uint64_t v) { return varint(field << 3).varint(v); }
  Proto& text(unsigned field, std::string_view v) {
    varint(field << 3 | 2).varint(v.size()).bytes += v;
    return *this;
  }
  Proto& real(unsigned field, float v) {
    char raw[4];
    std::memcpy(raw, &v, 4);
    varint(field << 3 | 5).bytes.append(raw, 4);
    return *this;
  }
};

struct TestPiece {
  std::string text;
  float score;
  int type = 1;
};

/// A charsmap of a few rules: every node of the trie has a block of 256 units of its own.
std::string charsmap_of(const std::vector<std::pair<std::string, std::string>>& rules) {
  std::vector<std::uint32_t> units(256 * 64, 0);
  std::vector<std::string> nodes{""};  // prefixes; node i lives in block i + 1
  std::string texts;
  const auto block_of = [&](const std::string& prefix) {
    for (std::size_t i = 0; i < nodes.size(); ++i)
      if (nodes[i] == prefix) return static_cast<std::uint32_t>(256 * (i + 1));
    nodes.push_back(prefix);
    return static_cast<std::uint32_t>(256 * nodes.size());
  };
  units[0] = block_of("") << 10;
  for (const auto& [from, to] : rules) {
    for (std::size_t n = 1; n <= from.size(); ++n) {
      const auto byte = static_cast<unsigned char>(from[n - 1]);
      const std::uint32_t at = block_of(from.substr(0, n - 1)) ^ byte, block = block_of(from.substr(0, n));
      units[at] = (at ^ block) << 10 | (units[at] & 0x100u) | byte;
      if (n < from.size()) continue;
      units[at] |= 0x100u;
      units[block] = 0x80000000u | static_cast<std::uint32_t>(texts.size());
    }
    texts += to + '\0';
  }
  const auto size = static_cast<std::uint32_t>(4 * units.size());
  return std::string(reinterpret_cast<const char*>(&size), 4) +
         std::string(reinterpret_cast<const char*>(units.data()), size) + texts;
}

enum : int { unknown_piece = 2, control_piece, user_piece, unused_piece, byte_piece };

std::string model_of(int type, std::vector<TestPiece> pieces, const Proto& normalizer = {}) {
  pieces.insert(pieces.begin(), {{"<unk>", 0, unknown_piece}, {"<s>", 0, control_piece}, {"</s>", 0, control_piece}});
  Proto model;
  for (const TestPiece& p : pieces)
    model.text(1, Proto().text(1, p.text).real(2, p.score).number(3, static_cast<std::uint64_t>(p.type)).bytes);
  return model.text(2, Proto().number(3, static_cast<std::uint64_t>(type)).bytes).text(3, normalizer.bytes).bytes;
}

PieceIds ids_of(const std::string& model, std::string_view text, EncodeOptions options = {.add_special = false}) {
  const auto t = Tokenizer::from_sentencepiece(model, {}, "test.model");
  EXPECT_TRUE(t) << t.error().message();
  return t ? t->encode(text, options).value_or(PieceIds{-9}) : PieceIds{-8};
}
std::string round_trip(const std::string& model, std::string_view text) {
  const auto t = Tokenizer::from_sentencepiece(model, {}, "test.model");
  EXPECT_TRUE(t) << t.error().message();
  const auto ids = t->encode(text);
  auto stream = StreamDecoder::create(*t);
  std::string streamed;
  for (const token_t id : *ids) streamed += stream->push(id);
  streamed += stream->finish();
  const std::string whole = t->decode(*ids, true).value_or("?");
  EXPECT_EQ(streamed, whole);
  return whole;
}

// ids: <unk> 0, <s> 1, </s> 2, then these
const std::vector<TestPiece> unigram_pieces = {{"▁", -3},  {"a", -2},      {"b", -2.5f},
                                               {"ab", -4}, {"▁a", -2.25f}, {"bb", -5}};

TEST(SentencePiece, unigram_takes_the_likeliest_cut_and_the_first_of_equals) {
  const std::string model = model_of(1, unigram_pieces);
  EXPECT_EQ(ids_of(model, "a"), (PieceIds{7}));          // ▁a -2.25, not ▁ a -5
  EXPECT_EQ(ids_of(model, "ab"), (PieceIds{7, 5}));      // -4.75, not ▁ ab -7
  EXPECT_EQ(ids_of(model, "bab"), (PieceIds{3, 5, 6}));  // ab -4, not a b -4.5
  EXPECT_EQ(ids_of(model, "bb"), (PieceIds{3, 8}));      // bb -5 ties with b b -5: the longer one came first
  EXPECT_EQ(ids_of(model, "xyb"), (PieceIds{3, 0, 5}));  // neighbouring unknown characters are one token
  EXPECT_EQ(ids_of(model, "  a   b "), (PieceIds{7, 3, 5}));
  EXPECT_EQ(ids_of(model, ""), PieceIds{});
  EXPECT_EQ(ids_of(model, "   "), PieceIds{});
  EXPECT_EQ(ids_of(model, "a", {}), (PieceIds{1, 7}));  // BOS unless a configuration says otherwise
  EXPECT_EQ(round_trip(model, "ab bab"), "ab bab");
  EXPECT_EQ(round_trip(model, "x"), " ⁇ ");
}

TEST(SentencePiece, bpe_merges_by_score_and_passes_through_unused_pieces) {
  const std::vector<TestPiece> pieces = {{"▁", -9}, {"a", -8}, {"b", -7}, {"ab", -1}, {"▁ab", -2, unused_piece},
                                         {"bb", -3}};
  const std::string model = model_of(2, pieces);
  EXPECT_EQ(ids_of(model, "ab"), (PieceIds{3, 6}));  // ▁ab is unused: what it was made of
  EXPECT_EQ(ids_of(model, "abb"), (PieceIds{3, 6, 5}));
  EXPECT_EQ(ids_of(model, "bbb"), (PieceIds{3, 8, 5}));
  EXPECT_EQ(ids_of(model, "xxa"), (PieceIds{3, 0, 4}));
  EXPECT_EQ(round_trip(model, "abb ab"), "abb ab");
}

TEST(SentencePiece, user_defined_symbols_are_never_merged_and_bytes_stand_for_what_is_unknown) {
  std::vector<TestPiece> pieces = unigram_pieces;
  pieces.push_back({"bab", 0, user_piece});
  for (unsigned b = 0; b < 256; ++b) pieces.push_back({tokenization::byte_token_text(b), 0, byte_piece});
  for (const int type : {1, 2}) {
    const std::string model = model_of(type, pieces);
    EXPECT_EQ(ids_of(model, "abab"), (PieceIds{7, 9})) << type;  // ▁a, bab
    EXPECT_EQ(ids_of(model, "bé"), (PieceIds{3, 5, 10 + 0xC3, 10 + 0xA9})) << type;
    EXPECT_EQ(round_trip(model, "é bab\n"), "é bab\n") << type;
  }
}

TEST(SentencePiece, the_charsmap_and_the_blanks_are_what_the_normalizer_says) {
  const std::string map = charsmap_of({{"\xC3\xA0", "a"}, {"\t", " "}, {"B", "b"}, {"BB", "a"}, {"\x7F", ""}});
  const std::string model = model_of(1, unigram_pieces, Proto().text(2, map));
  EXPECT_EQ(ids_of(model, "\xC3\xA0\tB"), (PieceIds{7, 3, 5}));
  EXPECT_EQ(ids_of(model, "BB"), (PieceIds{7}));  // the longest rule
  EXPECT_EQ(ids_of(model,
                   "\t\x7F"
                   "a"),
            (PieceIds{7}));
  const std::string bare = model_of(1, unigram_pieces, Proto().number(3, 0).number(4, 0));
  EXPECT_EQ(ids_of(bare, "a"), (PieceIds{4}));
  EXPECT_EQ(ids_of(bare, " a  b"), (PieceIds{7, 3, 3, 5}));
  EXPECT_EQ(round_trip(bare, " a  b "), " a  b ");
}

TEST(SentencePiece, tokenizer_config_adds_tokens_and_says_what_stands_around) {
  const std::string model = model_of(1, unigram_pieces);
  const auto t =
      Tokenizer::from_sentencepiece(model, R"({"add_bos_token": false, "add_eos_token": true, "eos_token": "<|end|>",
    "added_tokens_decoder": {"9": {"content": "<|end|>", "special": true}, "2": {"content": "</s>", "special": true}}})",
                                    "test.model");
  ASSERT_TRUE(t) << t.error().message();
  EXPECT_EQ(*t->encode("a<|end|>a"), (PieceIds{7, 9, 7, 9}));
  EXPECT_EQ(t->eos(), 9);
  EXPECT_TRUE(t->is_end(9));
  EXPECT_TRUE(t->is_special(9));
  EXPECT_EQ(*t->decode(PieceIds{7, 9}, true), "a");
  EXPECT_EQ(*t->decode(PieceIds{7, 9}, false), "a<|end|>");
  EXPECT_EQ(
      Tokenizer::from_sentencepiece(model, R"({"added_tokens_decoder": {"4": {"content": "x"}}})", "m").error().code,
      Errc::bad_file);
  EXPECT_EQ(Tokenizer::from_sentencepiece(model, R"({"add_eos_token": true, "eos_token": "none"})", "m").error().code,
            Errc::bad_metadata);
}

TEST(SentencePiece, what_it_does_not_read_is_refused_by_name) {
  const auto error = [](const std::string& model) {
    const auto t = Tokenizer::from_sentencepiece(model, {}, "test.model");
    return t ? std::string("accepted") : std::string(name_of(t.error().code)) + ": " + t.error().message();
  };
  EXPECT_NE(error(model_of(3, unigram_pieces)).find("words"), std::string::npos);
  EXPECT_NE(error(model_of(4, unigram_pieces)).find("chars"), std::string::npos);
  EXPECT_NE(error(model_of(1, unigram_pieces, Proto().number(5, 0))).find("escape_whitespaces"), std::string::npos);
  EXPECT_NE(error(model_of(1, unigram_pieces) + Proto().text(2, Proto().number(24, 1).bytes).bytes).find("suffix"),
            std::string::npos);
  EXPECT_NE(error(model_of(1, unigram_pieces) + Proto().text(5, Proto().text(2, "x").bytes).bytes).find("denormalizer"),
            std::string::npos);
  EXPECT_NE(error(model_of(1, unigram_pieces, Proto().text(2, "short"))).find("charsmap"), std::string::npos);
  EXPECT_NE(error(model_of(1, unigram_pieces, Proto().text(2, charsmap_of({{"a", std::string(2000, 'b')}}))))
                .find("too long"),
            std::string::npos);
  EXPECT_NE(error(model_of(1, {{std::string(2000, 'a'), -1}})).find("too long"), std::string::npos);
  EXPECT_NE(error(model_of(1, {{"a", NAN}})).find("score"), std::string::npos);
  EXPECT_NE(error(model_of(1, {{"\xFF", -1}})).find("UTF-8"), std::string::npos);
  EXPECT_NE(error(model_of(1, {{"<0xZZ>", 0, byte_piece}})).find("byte"), std::string::npos);
  EXPECT_NE(error(model_of(1, {{"<unk>", 0, unknown_piece}})).find("two unknown"), std::string::npos);
}

TEST(SentencePiece, damage_is_an_error_or_another_model_and_never_more) {
  const std::string model = model_of(1, unigram_pieces, Proto().text(2, charsmap_of({{"ab", "ba"}, {"b", ""}})));
  std::mt19937 random(5);
  int refused = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string damaged = model;
    for (int n = 1 + static_cast<int>(random() % 3); n > 0; --n)
      damaged[random() % damaged.size()] = static_cast<char>(random());
    if (i % 3 == 0) damaged.resize(random() % damaged.size());
    const auto t = Tokenizer::from_sentencepiece(damaged, {}, "damaged");
    refused += !t;
    if (t) (void)t->encode("abba ab\tx\xC3\xA9");
  }
  EXPECT_GT(refused, 500);
}

TEST(SentencePiece, precompiled_step_of_tokenizer_json_takes_the_shortest_rule_of_a_cluster) {
  const auto map = Charsmap::create(charsmap_of({{"e", "x"}, {"e\xCC\x81", "y"}}), "map");
  ASSERT_TRUE(map);
  EXPECT_EQ(map->longest("e\xCC\x81z")->replacement, "y");
  EXPECT_EQ(map->longest("e\xCC\x81z")->length, 3u);
  EXPECT_EQ(map->shortest("e\xCC\x81z")->replacement, "x");
  EXPECT_FALSE(map->longest("z"));
  EXPECT_FALSE(map->longest(""));
  EXPECT_EQ(tokenization::grapheme_end("e\xCC\x81z", 0), 3u);
}

std::string rank_file(const std::vector<std::string>& more) {
  constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::vector<std::string> tokens;
  for (int b = 0; b < 256; ++b) tokens.emplace_back(1, static_cast<char>(b));
  tokens.insert(tokens.end(), more.begin(), more.end());
  std::string file;
  for (std::size_t rank = 0; rank < tokens.size(); ++rank) {
    for (std::size_t i = 0; i < tokens[rank].size(); i += 3) {
      const std::size_t n = std::min<std::size_t>(3, tokens[rank].size() - i);
      std::uint32_t bits = 0;
      for (std::size_t j = 0; j < 3; ++j)
        bits = bits << 8 | (j < n ? static_cast<unsigned char>(tokens[rank][i + j]) : 0u);
      for (std::size_t j = 0; j < 4; ++j) file += j <= n ? digits[bits >> (18 - 6 * j) & 63] : '=';
    }
    file += " " + std::to_string(rank) + "\n";
  }
  return file;
}

TEST(Tiktoken, ranks_merge_and_whole_pieces_need_no_merging) {
  // ab 256, bc 257, abc 258, zq!x 259: a whole piece that no merging reaches
  const std::string file = rank_file({"ab", "bc", "abc", "zq!x"});
  const std::pair<std::string_view, token_t> special[] = {{"<|end|>", 300}, {"<|start|>", 301}};
  TiktokenOptions options{
      .pattern = R"([^ ]+| )", .special_tokens = special, .bos = "<|start|>", .eos = "<|end|>", .add_bos = true};
  const auto t = Tokenizer::from_tiktoken(file, options, "test.tiktoken");
  ASSERT_TRUE(t) << t.error().message();
  EXPECT_EQ(*t->encode("abc bcab", {.add_special = false}), (PieceIds{258, ' ', 257, 256}));
  EXPECT_EQ(*t->encode("zq!x zq!xx", {.add_special = false}), (PieceIds{259, ' ', 'z', 'q', '!', 'x', 'x'}));
  EXPECT_EQ(*t->encode("a<|end|>"), (PieceIds{301, 'a', 300}));
  EXPECT_EQ(t->encode("<|end|>", {.add_special = false, .parse_special = false})->size(), 7u);
  EXPECT_EQ(*t->decode(*t->encode("é abc\xF0\x9F\x98\x80"), true), "é abc\xF0\x9F\x98\x80");
  EXPECT_EQ(t->vocab_size(), 302);
  EXPECT_TRUE(t->is_end(300));
  EXPECT_EQ(*t->token_text(300), "<|end|>");
}

TEST(Tiktoken, bad_files_and_options_are_errors) {
  const std::string file = rank_file({"ab"});
  const auto code = [](const std::string& text, const TiktokenOptions& options) {
    const auto t = Tokenizer::from_tiktoken(text, options, "test");
    return t ? Errc::cancelled : t.error().code;
  };
  const TiktokenOptions good{.pattern = "."};
  EXPECT_EQ(code(file, good), Errc::cancelled);  // accepted
  EXPECT_EQ(code("", good), Errc::bad_file);
  EXPECT_EQ(code(file + "!!!! 257\n", good), Errc::bad_file);
  EXPECT_EQ(code(file + "YWI= 256\n", good), Errc::bad_file);  // rank twice
  EXPECT_EQ(code(file + "YWJj 99999999999\n", good), Errc::bad_file);
  EXPECT_EQ(code(file + "YWJj 90000000\n", good), Errc::bad_file);
  EXPECT_EQ(code(file + "YWJj\n", good), Errc::bad_file);
  EXPECT_EQ(code(file.substr(file.find('\n') + 1), good), Errc::bad_file);  // the byte 0 has no token
  EXPECT_EQ(code(file, {}), Errc::bad_argument);
  EXPECT_EQ(code(file, {.pattern = "("}), Errc::unsupported);
  EXPECT_EQ(code(file, {.pattern = ".", .bos = "<x>", .add_bos = true}), Errc::bad_argument);
  const std::pair<std::string_view, token_t> taken[] = {{"<|end|>", 5}}, far[] = {{"<|end|>", 1 << 30}};
  EXPECT_EQ(code(file, {.pattern = ".", .special_tokens = taken}), Errc::bad_argument);
  EXPECT_EQ(code(file, {.pattern = ".", .special_tokens = far}), Errc::bad_argument);
}

}  // namespace
