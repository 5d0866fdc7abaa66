// SpmTokenizer on a real tokenizer.model: sentencepiece's own ids, texts that stream as they decode, refusals.

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>

#include "tmodel/core/json.hpp"
#include "tmodel/text/spm.hpp"
#include "tmodel/text/stream_decoder.hpp"

namespace {

using namespace tmodel;

std::string whole_file(const std::string& name) {
  std::ifstream in(TMODEL_CONFORMANCE_DATA "/models/stories260K/derived/" + name, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(ConformanceSpm, ids_and_texts_equal_sentencepiece) {
  const auto tokenizer = SpmTokenizer::create(whole_file("tokenizer.model"), "tokenizer.model");
  ASSERT_TRUE(tokenizer) << tokenizer.error().message();
  EXPECT_EQ(tokenizer->vocab_size(), 512);
  sentencepiece::SentencePieceProcessor library;
  ASSERT_TRUE(library.LoadFromSerializedProto(whole_file("tokenizer.model")).ok());
  const std::string lines = whole_file("tokenizer_vectors_sentencepiece.jsonl");
  int checked = 0;
  for (std::size_t at = 0; at < lines.size();) {
    const std::size_t end = std::min(lines.find('\n', at), lines.size());
    const auto line = JsonDocument::parse(std::string_view(lines).substr(at, end - at), "vectors");
    at = end + 1;
    ASSERT_TRUE(line);
    const std::string text(line->root()["text"].string());
    std::vector<token_t> want;
    for (Json id = line->root()["ids"].first(); id; id = id.next()) want.push_back(static_cast<token_t>(*id.integer()));
    const auto got = tokenizer->encode(text, {.add_special = false, .parse_special = false});
    ASSERT_TRUE(got);
    EXPECT_EQ(*got, want) << text;
    const auto back = tokenizer->decode(want, true);
    ASSERT_TRUE(back);
    EXPECT_EQ(*back, library.DecodeIds(std::vector<int>(want.begin(), want.end())));
    auto stream = StreamDecoder::create(*tokenizer);
    ASSERT_TRUE(stream);
    std::string streamed;
    for (const token_t id : want) streamed += stream->push(id);
    streamed += stream->finish();
    EXPECT_EQ(streamed, *back);
    ++checked;
  }
  EXPECT_EQ(checked, 30);
}

TEST(ConformanceSpm, special_tokens_are_read_where_they_may_be) {
  const auto tokenizer = SpmTokenizer::create(whole_file("tokenizer.model"), "tokenizer.model");
  ASSERT_TRUE(tokenizer);
  const auto whole = tokenizer->encode("</s>Once");
  const auto plain = tokenizer->encode("</s>Once", {.parse_special = false});
  ASSERT_TRUE(whole && plain);
  EXPECT_EQ((*whole)[0], tokenizer->bos());
  EXPECT_EQ((*whole)[1], tokenizer->eos());
  EXPECT_EQ(std::count(plain->begin(), plain->end(), tokenizer->eos()), 0);
  EXPECT_TRUE(tokenizer->is_end(tokenizer->eos()));
  EXPECT_TRUE(tokenizer->is_special(tokenizer->bos()));
  EXPECT_EQ(*tokenizer->decode(*tokenizer->encode("Once upon"), true), "Once upon");
}

TEST(ConformanceSpm, what_is_no_model_is_refused) {
  std::string model = whole_file("tokenizer.model");
  for (const std::string& bad :
       {std::string(), std::string("{}"), model.substr(0, 100), model.substr(0, model.size() / 2)}) {
    const auto tokenizer = SpmTokenizer::create(bad, "bad.model");
    if (tokenizer) continue;  // a cut between two pieces is a smaller model
    EXPECT_EQ(tokenizer.error().code, Errc::bad_file);
    EXPECT_NE(tokenizer.error().message().find("bad.model"), std::string::npos);
  }
  EXPECT_FALSE(SpmTokenizer::create({}, "empty"));
  EXPECT_FALSE(SpmTokenizer::create("{}", "json"));
}

}  // namespace
