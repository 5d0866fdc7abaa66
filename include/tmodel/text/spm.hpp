#pragma once
// SpmTokenizer: a tokenizer.model through the sentencepiece library itself. Component tmodel::spm; nothing else of
// tmodel needs that library. Unigram and BPE models, their normalisation and byte fallback are sentencepiece's own.

#include <sentencepiece_processor.h>

#include <algorithm>
#include <memory>

#include "tmodel/text/concepts.hpp"
#include "tmodel/text/tokenizer_parts.hpp"

namespace tmodel::inline v0 {

/// A tokenizer.model does not say what stands around a text; Llama's kin begin it with BOS.
struct SpmOptions {
  bool add_bos = true;
  bool add_eos = false;
};

/// Immutable once made; const calls may come from any thread. Satisfies TextTokenizer. Damage in a model file is seen
/// as far as the sentencepiece library sees it.
class SpmTokenizer {
 public:
  /// `model`: the bytes of a tokenizer.model, copied. `where` names it in errors. Errors: bad_file, out_of_memory.
  static expected<SpmTokenizer> create(std::string_view model, std::string_view where, SpmOptions options = {}) {
    return guard([&]() -> expected<SpmTokenizer> {
      SpmTokenizer t;
      t.processor_ = std::make_unique<sentencepiece::SentencePieceProcessor>();
      if (model.empty() || !t.processor_->LoadFromSerializedProto({model.data(), model.size()}).ok() ||
          t.processor_->GetPieceSize() <= 0)
        return fail(Errc::bad_file, "not a SentencePiece model", where);
      t.options_ = options;
      TMODEL_CHECK(t.read_pieces());
      return t;
    });
  }

  /// Ids of text. Each stretch between special tokens is encoded alone, with the model's dummy prefix.
  /// Errors: bad_argument (over 2^31 - 1 bytes), out_of_memory.
  expected<std::vector<token_t>> encode(std::string_view text, EncodeOptions options = {}) const {
    return guard([&]() -> expected<std::vector<token_t>> {
      if (text.size() > 0x7FFFFFFFu) return fail(Errc::bad_argument, "text is longer than 2^31 - 1 bytes");
      std::vector<token_t> out;
      if (options.add_special && options_.add_bos && parts_.bos >= 0) out.push_back(parts_.bos);
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
      if (options.add_special && options_.add_eos && parts_.eos >= 0) out.push_back(parts_.eos);
      return out;
    });
  }

  /// Text as sentencepiece decodes it, by the decoder that streams share; ids outside the vocabulary are left out,
  /// special tokens have no text there.
  expected<std::string> decode(std::span<const token_t> tokens, bool skip_special) const {
    return guard(
        [&]() -> expected<std::string> { return parts_.decoder.decode(parts_.vocabulary, tokens, skip_special); });
  }

  std::string_view piece(token_t id) const noexcept { return parts_.vocabulary.piece(id); }
  bool is_special(token_t id) const noexcept {
    return (parts_.vocabulary.flags(id) & tokenization::token_special) != 0;
  }
  bool is_end(token_t id) const noexcept { return std::binary_search(parts_.ends.begin(), parts_.ends.end(), id); }
  std::span<const token_t> end_tokens() const noexcept { return parts_.ends; }
  token_t bos() const noexcept { return parts_.bos; }  ///< -1: none
  token_t eos() const noexcept { return parts_.eos; }  ///< -1: none
  int vocab_size() const noexcept { return parts_.vocabulary.size(); }
  const tokenization::TokenizerParts& parts() const noexcept { return parts_; }

 private:
  SpmTokenizer() = default;

  /// Texts, flags and the decoder, which streams read.
  expected<void> read_pieces() {
    using namespace tokenization;
    const sentencepiece::SentencePieceProcessor& sp = *processor_;
    std::string piece;
    for (int id = 0; id < sp.GetPieceSize(); ++id) {
      const std::string& text = sp.IdToPiece(id);
      std::uint32_t flags = token_exists | token_in_model;
      piece = text;
      if (sp.IsControl(id)) {
        parts_.added.push_back({.content = text, .id = id, .special = true});
        flags |= token_added | token_special;
      } else if (sp.IsUnknown(id)) {
        piece = " \xE2\x81\x87 ";  // sentencepiece's own text for it
      } else if (sp.IsByte(id)) {
        const int byte = byte_of_token(text);
        if (byte < 0) return fail(Errc::bad_file, "byte piece is not <0xHH>", "tokenizer.model", {}, text);
        piece.assign(1, static_cast<char>(byte));
        flags |= token_byte;
      } else {
        for (std::size_t at = 0; (at = piece.find(space_mark, at)) != std::string::npos; ++at)
          piece.replace(at, space_mark.size(), " ");
      }
      TMODEL_CHECK(parts_.vocabulary.add(text, piece, flags));
    }
    TMODEL_CHECK(parts_.vocabulary.build_index());
    TMODEL_CHECK(parts_.build_passes(AddedTokens::Order::longest_first));
    parts_.bos = sp.bos_id();
    parts_.eos = sp.eos_id();
    parts_.collect_ends({});
    parts_.decoder.kind = Decoder::Kind::fused;
    std::vector<int> probe;  // the dummy prefix, if the model has one, is what decoding takes away again
    if (sp.Encode("a", &probe).ok() && !probe.empty() && sp.IdToPiece(probe[0]).starts_with(space_mark))
      parts_.decoder.strip_count = 1;
    return parts_.vocabulary.shrink();
  }

  std::unique_ptr<sentencepiece::SentencePieceProcessor> processor_;
  tokenization::TokenizerParts parts_;
  SpmOptions options_;
};

static_assert(TextTokenizer<SpmTokenizer>);

}  // namespace tmodel::inline v0
