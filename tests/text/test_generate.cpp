// generate() over a session that says what a test wrote down: stop strings through the real decoder, for every split of
// a text into tokens; log-probabilities, masks and the caller's word; how an answer ends.

#include <gtest/gtest.h>

#include <numeric>
#include <random>

#include "tmodel/generate.hpp"
#include "tmodel/language.hpp"
#include "tmodel/text/template_end_tokens.hpp"

namespace {

using namespace tmodel;

constexpr f32 impossible = -std::numeric_limits<f32>::infinity();

/// A session whose model gives the n-th logits after the n-th append(), the last ones from then on.
class ScriptedSession {
 public:
  ScriptedSession(std::vector<std::vector<f32>> steps, int capacity = 1000)
      : steps_(std::move(steps)), capacity_(capacity) {}
  /// One that makes arg-max say these tokens.
  static ScriptedSession saying(std::span<const token_t> ids, int vocab) {
    std::vector<std::vector<f32>> steps;
    for (const token_t id : ids) {
      steps.emplace_back(static_cast<std::size_t>(vocab), 0.f);
      steps.back()[static_cast<std::size_t>(id)] = 1;
    }
    return ScriptedSession(std::move(steps));
  }

  expected<void> append(std::span<const token_t> tokens, const AppendOptions& o = {}) {
    if (o.cancel != nullptr && *o.cancel) return fail(Errc::cancelled, "cancelled");
    if (tokens_.size() + tokens.size() > static_cast<std::size_t>(capacity_)) return fail(Errc::context_full, "full");
    tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
    logits_ = steps_[std::min(step_++, steps_.size() - 1)];
    return {};
  }
  std::span<f32> logits() { return logits_; }
  std::span<const token_t> tokens() const { return tokens_; }
  pos_t length() const { return static_cast<pos_t>(tokens_.size()); }

 private:
  std::vector<std::vector<f32>> steps_;
  std::size_t step_ = 0;
  int capacity_;
  std::vector<token_t> tokens_;
  std::vector<f32> logits_;
};

std::string json_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c == '\n' ? "\\n" : std::string(1, c);
  }
  return out + '"';
}

/// tokenizer.json of a byte-level tokenizer whose n-th token is the n-th piece; special tokens follow.
std::string byte_level_of(const std::vector<std::string>& pieces, const std::vector<std::string>& special = {}) {
  std::string vocab, added;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    std::string mapped;
    tokenization::append_mapped(mapped, pieces[i]);
    vocab += (i == 0 ? "" : ", ") + json_string(mapped) + ": " + std::to_string(i);
  }
  for (std::size_t i = 0; i < special.size(); ++i)
    added += (i == 0 ? "" : ", ") + std::string("{\"id\": ") + std::to_string(pieces.size() + i) +
             ", \"content\": " + json_string(special[i]) +
             R"(, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true})";
  return R"({"added_tokens": [)" + added + R"(], "normalizer": null,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
    "post_processor": null, "decoder": {"type": "ByteLevel"},
    "model": {"type": "BPE", "dropout": null, "unk_token": null, "fuse_unk": false, "byte_fallback": false,
      "vocab": {)" +
         vocab + R"(}, "merges": []}})";
}
Tokenizer tokenizer_of(const std::vector<std::string>& pieces, const std::vector<std::string>& special = {}) {
  auto tokenizer = Tokenizer::from_json(byte_level_of(pieces, special), {}, "test");
  EXPECT_TRUE(tokenizer) << tokenizer.error().message();
  return std::move(*tokenizer);
}
/// A tokenizer with byte fallback: 256 byte tokens, then the pieces.
Tokenizer byte_fallback_tokenizer_of(const std::vector<std::string>& pieces) {
  std::string vocab;
  for (unsigned b = 0; b < 256; ++b)
    vocab += json_string(tokenization::byte_token_text(b)) + ": " + std::to_string(b) + ", ";
  vocab += "\"<unk>\": 256";
  for (std::size_t i = 0; i < pieces.size(); ++i)
    vocab += ", " + json_string(pieces[i]) + ": " + std::to_string(257 + i);
  const std::string json = R"({"added_tokens": [], "normalizer": {"type": "Sequence", "normalizers": [
      {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
    "pre_tokenizer": null, "post_processor": null,
    "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
      {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
    "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true,
      "vocab": {)" + vocab +
                           R"(}, "merges": []}})";
  auto tokenizer = Tokenizer::from_json(json, {}, "test");
  EXPECT_TRUE(tokenizer) << tokenizer.error().message();
  return std::move(*tokenizer);
}

/// By definition: what stands before the stop string that completes first, the longest of those.
std::pair<std::string, StopReason> before_stop(std::string_view text, const std::vector<std::string>& stops) {
  for (std::size_t end = 1; end <= text.size(); ++end) {
    std::size_t longest = 0;
    for (const std::string& s : stops)
      if (text.substr(0, end).ends_with(s)) longest = std::max(longest, s.size());
    if (longest != 0) return {std::string(text.substr(0, end - longest)), StopReason::stop_string};
  }
  return {std::string(text), StopReason::max_tokens};
}

struct Said {
  std::string text;
  StopReason reason = StopReason::none;
  int tokens = 0;
};

/// Everything that on_text got, in whole characters.
Said say(ScriptedSession session, const Tokenizer& tokenizer, GenerateOptions o, SamplerOptions how = {}) {
  Said said;
  const auto on_text = [&](std::string_view text) {
    EXPECT_EQ(tokenization::valid_prefix(text), text.size()) << "half a character";
    said.text += text;
    return true;
  };
  if (!o.on_text) o.on_text = on_text;
  auto sampler = Sampler::create(how, tokenizer.vocab_size());
  const std::vector<token_t> prompt = {0};
  auto g = generate(session, tokenizer, *sampler, prompt, o);
  EXPECT_TRUE(g) << g.error().message();
  if (g) said.reason = g->reason, said.tokens = g->tokens;
  return said;
}

struct StopCase {
  std::string text;
  std::vector<std::string> stops;
};
const std::vector<StopCase> stop_cases = {{"an END!", {"END"}},
                                          {"aENDSz", {"END", "NDS", "ENDE"}},
                                          {"aaababcc", {"abab", "babc", "cc"}},
                                          {"EENENDEN", {"END", "NEND"}},
                                          {"hi\n\nUser: x", {"\n\nUser:", "\n\n\n"}},
                                          {"a\xC3\xA9!b", {"\xC3\xA9!"}},                // é!
                                          {"\xC3\x9F\xC3\xA9x", {"\xC3\xA9"}},           // ßé: one first byte
                                          {"x\xF0\x9F\x98\x80y", {"\xF0\x9F\x98\x80"}},  // an emoji
                                          {"\xF0\x9F\x98\x81z", {"\xF0\x9F\x98\x80"}},   // another one
                                          {"ENEN\xC3", {"END"}},                         // ends in half a character
                                          {"no stop", {}}};

TEST(Generate, stops_over_every_split_into_tokens) {
  for (const auto& [text, stops] : stop_cases) {
    std::vector<std::string> pieces;  // every part of the text
    std::vector<std::vector<token_t>> id(text.size(), std::vector<token_t>(text.size() + 1));
    for (std::size_t begin = 0; begin < text.size(); ++begin)
      for (std::size_t end = begin + 1; end <= text.size(); ++end) {
        const std::string piece = text.substr(begin, end - begin);
        const auto found = std::find(pieces.begin(), pieces.end(), piece);
        id[begin][end] = static_cast<token_t>(found - pieces.begin());
        if (found == pieces.end()) pieces.push_back(piece);
      }
    const Tokenizer tokenizer = tokenizer_of(pieces);
    auto want = before_stop(text, stops);
    if (text.back() == '\xC3') want.first = text.substr(0, text.size() - 1) + "\xEF\xBF\xBD";
    for (unsigned cuts = 0; cuts < 1u << (text.size() - 1); ++cuts) {
      std::vector<token_t> tokens;
      std::size_t begin = 0;
      for (std::size_t end = 1; end <= text.size(); ++end) {
        if (end < text.size() && (cuts >> (end - 1) & 1) == 0) continue;
        tokens.push_back(id[begin][end]);
        begin = end;
      }
      const Said said = say(ScriptedSession::saying(tokens, tokenizer.vocab_size()), tokenizer,
                            {.max_tokens = static_cast<int>(tokens.size()), .stop = stops});
      ASSERT_EQ(said.text, want.first) << text << " cut as " << cuts;
      ASSERT_EQ(said.reason, want.second) << text << " cut as " << cuts;
    }
  }
}

TEST(Generate, stops_over_every_split_into_texts_and_byte_tokens) {
  for (const StopCase& stop_case : stop_cases) {
    const std::string& text = stop_case.text;
    const std::vector<std::string>& stops = stop_case.stops;
    if (text.back() == '\xC3') continue;
    std::vector<std::string> pieces;
    std::vector<token_t> tokens;
    const Tokenizer tokenizer = [&] {
      for (std::size_t begin = 0; begin < text.size(); ++begin)
        for (std::size_t end = begin + 1; end <= text.size(); ++end) {
          const std::string piece = text.substr(begin, end - begin);
          if (tokenization::valid_prefix(piece) == piece.size() &&
              std::find(pieces.begin(), pieces.end(), piece) == pieces.end())
            pieces.push_back(piece);
        }
      return byte_fallback_tokenizer_of(pieces);
    }();
    const auto want = before_stop(text, stops);
    const auto all_from = [&](auto& self, std::size_t begin) -> void {
      if (begin == text.size()) {
        const Said said = say(ScriptedSession::saying(tokens, tokenizer.vocab_size()), tokenizer,
                              {.max_tokens = static_cast<int>(tokens.size()), .stop = stops});
        ASSERT_EQ(said.text, want.first) << text;
        return;
      }
      const auto with = [&](token_t id, std::size_t end) {
        tokens.push_back(id);
        self(self, end);
        tokens.pop_back();
      };
      const auto byte = static_cast<unsigned char>(text[begin]);
      if (byte >= 0x80) with(byte, begin + 1);
      for (std::size_t i = 0; i < pieces.size(); ++i)
        if (text.compare(begin, pieces[i].size(), pieces[i]) == 0)
          with(static_cast<token_t>(257 + i), begin + pieces[i].size());
    };
    all_from(all_from, 0);
  }
}

const std::vector<std::string> letters = {"a", "b", "c", "d"};

TEST(Generate, reports_the_models_own_log_probabilities) {
  const Tokenizer tokenizer = tokenizer_of(letters, {"<end>"});
  const std::vector<std::vector<f32>> steps = {
      {1, 2, 0, -1, -3}, {0, 0, 5, 0, 0}, {-1, impossible, 0, 4, 1}, {0, 0, 0, -9, 0.5f}};
  for (const bool greedy : {true, false}) {
    std::vector<token_t> ids;
    const auto on_token = [&](const DrawnToken& t) {
      const std::vector<f32>& logits = steps[ids.size()];
      auto own = LogProbabilities::create(5, 2);
      own->read(logits);
      EXPECT_EQ(t.log_probability, own->of(t.id));
      EXPECT_EQ(t.alternatives.size(), 2u);
      for (std::size_t i = 0; i < t.alternatives.size(); ++i) {
        EXPECT_EQ(t.alternatives[i].id, own->likeliest()[i].id);
        EXPECT_EQ(t.alternatives[i].log_probability, own->likeliest()[i].log_probability);
      }
      EXPECT_EQ(t.text, t.id == 4 ? std::string_view() : tokenizer.piece(t.id));
      ids.push_back(t.id);
      return true;
    };
    // The bias makes d the likeliest at first; what is reported stays the model's.
    const std::vector<token_t> ends = {4};
    const Said said = say(ScriptedSession(steps), tokenizer,
                          {.end_tokens = ends, .on_token = on_token, .log_probabilities = true, .alternatives = 2},
                          {.temperature = greedy ? 0.f : 0.01f, .logit_bias = {{3, 3.5f}}, .banned = {1}});
    EXPECT_EQ(ids, (std::vector<token_t>{3, 2, 3, 4}));
    EXPECT_EQ(said.text, "dcd");
  }
}

TEST(Generate, asks_for_the_mask_of_each_step) {
  const Tokenizer tokenizer = tokenizer_of(letters, {"<end>"});
  for (const f32 temperature : {0.f, 5.f}) {
    std::vector<std::size_t> lengths;
    std::uint64_t word = 0;
    const auto allowed = [&](std::span<const token_t> tokens) {
      lengths.push_back(tokens.size());
      if (tokens.size() == 4) return TokenMask();  // all
      word = tokens.size() % 2 ? 0b0100 : 0b0001;
      return TokenMask(&word, 1);
    };
    const Said said = say(ScriptedSession({{0, 9, 1, 0, 0}}), tokenizer, {.max_tokens = 4, .allowed = allowed},
                          {.temperature = temperature, .top_k = 1});
    EXPECT_EQ(said.text, "cacb");
    EXPECT_EQ(lengths, (std::vector<std::size_t>{1, 2, 3, 4}));
  }
  const auto nothing = [word = std::uint64_t{1} << 63](std::span<const token_t>) { return TokenMask(&word, 1); };
  ScriptedSession session({{0, 9, 1, 0, 0}});
  auto sampler = Sampler::create({}, 5);
  const std::vector<token_t> prompt = {0};
  const auto g = generate(session, tokenizer, *sampler, prompt, {.max_tokens = 4, .allowed = nothing});
  ASSERT_FALSE(g);
  EXPECT_EQ(g.error().code, Errc::bad_argument);
  EXPECT_EQ(session.length(), 1);
  // A sampler of the caller's own, without a mask parameter.
  const auto last_possible = [](std::span<f32> logits, std::span<const token_t>, const DrawKey&) {
    token_t id = -1;
    for (std::size_t i = 0; i < logits.size(); ++i)
      if (logits[i] > impossible) id = static_cast<token_t>(i);
    return id;
  };
  const auto first_two = [word = std::uint64_t{3}](std::span<const token_t>) { return TokenMask(&word, 1); };
  std::string text;
  const auto on_text = [&](std::string_view t) { return text += t, true; };
  ASSERT_TRUE(
      generate(session, tokenizer, last_possible, prompt, {.max_tokens = 2, .on_text = on_text, .allowed = first_two}));
  EXPECT_EQ(text, "bb");
}

TEST(Generate, ends_when_the_caller_says_so) {
  const Tokenizer tokenizer = tokenizer_of(letters, {"<end>"});
  const std::vector<token_t> abca = {0, 1, 2, 0};
  const std::vector<std::string> stops = {"cab"};
  // By on_token: what was held back for the stop string is shown.
  int tokens = 0;
  const auto three = [&](const DrawnToken&) { return ++tokens < 3; };
  Said said = say(ScriptedSession::saying(abca, 5), tokenizer, {.stop = stops, .on_token = three});
  EXPECT_EQ(said.text, "abc");
  EXPECT_EQ(said.reason, StopReason::caller);
  EXPECT_EQ(said.tokens, 3);
  // By on_text: it gets nothing more.
  int calls = 0;
  const auto no_more = [&](std::string_view) { return ++calls < 2; };
  said = say(ScriptedSession::saying(abca, 5), tokenizer, {.stop = stops, .on_text = no_more});
  EXPECT_EQ(said.reason, StopReason::caller);
  EXPECT_EQ(calls, 2);
}

TEST(Generate, ends_at_any_end_token_and_at_bounds) {
  const Tokenizer tokenizer = tokenizer_of(letters, {"<end>", "<eot>"});
  const std::vector<token_t> ends = {5, 4};
  for (const token_t end : ends) {
    const std::vector<token_t> ids = {0, 1, end, 2};
    std::vector<token_t> reported;
    const auto on_token = [&](const DrawnToken& t) { return reported.push_back(t.id), true; };
    const Said said = say(ScriptedSession::saying(ids, 6), tokenizer, {.end_tokens = ends, .on_token = on_token});
    EXPECT_EQ(said.text, "ab");
    EXPECT_EQ(said.reason, StopReason::end_token);
    EXPECT_EQ(said.tokens, 2);
    EXPECT_EQ(reported, (std::vector<token_t>{0, 1, end}));
  }
  const std::vector<std::vector<f32>> a = {{1, 0, 0, 0, 0, 0}};
  EXPECT_EQ(say(ScriptedSession(a), tokenizer, {.max_tokens = 7}).text, "aaaaaaa");
  const Said full = say(ScriptedSession(a, 4), tokenizer, {});
  EXPECT_EQ(full.reason, StopReason::context_full);
  EXPECT_EQ(full.text, "aaaa");
  std::atomic<bool> cancel = false;
  const auto cancels = [&](std::string_view) { return cancel = true; };
  EXPECT_EQ(say(ScriptedSession(a), tokenizer, {.cancel = &cancel, .on_text = cancels}).reason, StopReason::cancelled);
}

TEST(TemplateEndTokens, are_what_stands_behind_an_answer) {
  const Tokenizer tokenizer = tokenizer_of({"a", "b", " ", "\n", "u", "s"}, {"<|im_start|>", "<|im_end|>", "</s>"});
  const auto ends_of = [&](std::string_view source) {
    auto chat_template = ChatTemplate::parse(source, "test");
    EXPECT_TRUE(chat_template);
    std::vector<token_t> ends = {8};
    const std::vector<std::pair<std::string, std::string>> special = {{"eos_token", "</s>"}};
    EXPECT_TRUE(add_template_end_tokens(ends, *chat_template, tokenizer, special));
    return ends;
  };
  using Ids = std::vector<token_t>;
  EXPECT_EQ(ends_of("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"),
            (Ids{8, 7}));
  EXPECT_EQ(ends_of("{% for m in messages %}{{ m.content | trim }} {{ eos_token }}{% endfor %}"), Ids{8});  // once
  EXPECT_EQ(ends_of("{% for m in messages %}{{ m.content }} \n<|im_end|>{% endfor %}"), (Ids{8, 7}));
  EXPECT_EQ(ends_of("{% for m in messages %}{{ m.content }}\nuser:<|im_start|>{% endfor %}"), Ids{8});
  EXPECT_EQ(ends_of("{% for m in messages %}{{ m.content }}{% endfor %}"), Ids{8});
  EXPECT_EQ(ends_of("{{ raise_exception('never') }}"), Ids{8});
  EXPECT_EQ(ends_of("nothing of the messages<|im_end|>"), Ids{8});
}

TEST(Language, takes_sampling_from_the_generation_config) {
  const std::string json = byte_level_of(letters);
  ModelFiles files;
  files.tokenizer_json = json;
  Metadata& m = files.source.metadata;
  m.insert("generation_config.temperature", 0.6);
  auto greedy = Language::read(files);
  ASSERT_TRUE(greedy) << greedy.error().message();
  EXPECT_EQ(greedy->sampling().temperature, 0);  // do_sample is false, as in transformers
  m.insert("generation_config.do_sample", true);
  m.insert("generation_config.top_k", std::int64_t{20});
  m.insert("generation_config.min_p", 0.05);
  m.insert("generation_config.typical_p", 0.9);
  auto sampled = Language::read(files);
  ASSERT_TRUE(sampled);
  EXPECT_EQ(sampled->sampling().temperature, 0.6f);
  EXPECT_EQ(sampled->sampling().top_k, 20);
  EXPECT_EQ(sampled->sampling().top_p, 1);
  EXPECT_EQ(sampled->sampling().min_p, 0.05f);
  EXPECT_EQ(sampled->sampling().typical_p, 0.9f);
}

}  // namespace
