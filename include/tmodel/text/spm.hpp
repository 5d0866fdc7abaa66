#pragma once
// SpmTokenizer: a tokenizer.model through the sentencepiece library itself. Component tmodel::spm; nothing else of
// tmodel needs that library. What encodes is sentencepiece's own, so that it reads models that
// Tokenizer::from_sentencepiece refuses: of words and of characters.

#include <sentencepiece_processor.h>

#include <memory>

#include "tmodel/text/concepts.hpp"
#include "tmodel/text/tokenizer_facts.hpp"
#include "tmodel/text/tokenizer_sentencepiece.hpp"

namespace tmodel::inline v0 {

/// A tokenizer.model does not say what stands around a text; Llama's kin begin it with BOS.
struct SpmOptions {
  bool add_bos = true;
  bool add_eos = false;
};

/// Immutable once made; const calls may come from any thread. Satisfies TextTokenizer. Damage in a model file is seen
/// as far as the sentencepiece library sees it.
class SpmTokenizer : public TokenizerFacts {
 public:
  /// `model`: the bytes of a tokenizer.model, copied. `where` names it in errors. Errors: bad_file, unsupported,
  /// out_of_memory.
  static expected<SpmTokenizer> create(std::string_view model, std::string_view where, SpmOptions options = {}) {
    return guard([&]() -> expected<SpmTokenizer> {
      SpmTokenizer t;
      t.processor_ = std::make_unique<sentencepiece::SentencePieceProcessor>();
      if (model.empty() || !t.processor_->LoadFromSerializedProto({model.data(), model.size()}).ok() ||
          t.processor_->GetPieceSize() <= 0)
        return fail(Errc::bad_file, "not a SentencePiece model", where);
      TMODEL_TRY(const tokenization::SentencePieceModel facts, tokenization::read_model_proto(model, where));
      TMODEL_TRY(t.parts_, tokenization::build_sentencepiece_pieces(facts, where));
      if (options.add_bos && t.parts_.bos >= 0) t.parts_.prefix.push_back(t.parts_.bos);
      if (options.add_eos && t.parts_.eos >= 0) t.parts_.suffix.push_back(t.parts_.eos);
      TMODEL_CHECK(t.parts_.build_passes(tokenization::AddedTokens::Order::longest_first));
      t.parts_.collect_ends({});
      return t;
    });
  }

  /// Ids of text. Each stretch between special tokens is encoded alone, with the model's dummy prefix.
  /// Errors: bad_argument (over 2^31 - 1 bytes), out_of_memory.
  expected<std::vector<token_t>> encode(std::string_view text, EncodeOptions options = {}) const {
    return guard([&]() -> expected<std::vector<token_t>> {
      if (text.size() > 0x7FFFFFFFu) return fail(Errc::bad_argument, "text is longer than 2^31 - 1 bytes");
      std::vector<token_t> out;
      if (options.add_special) out = parts_.prefix;
      std::vector<tokenization::Segment> segments;
      std::vector<int> ids;
      parts_.raw_pass.split(text, {options.parse_special, options.plain}, segments);
      for (const tokenization::Segment& s : segments) {
        if (s.id >= 0) {
          out.push_back(s.id);
          continue;
        }
        if (!processor_->Encode({text.data() + s.begin, s.end - s.begin}, &ids).ok())
          return fail(Errc::bad_argument, "sentencepiece refused the text");
        out.insert(out.end(), ids.begin(), ids.end());
      }
      if (options.add_special) out.insert(out.end(), parts_.suffix.begin(), parts_.suffix.end());
      return out;
    });
  }

 private:
  SpmTokenizer() = default;

  std::unique_ptr<sentencepiece::SentencePieceProcessor> processor_;
};

static_assert(TextTokenizer<SpmTokenizer>);

}  // namespace tmodel::inline v0
