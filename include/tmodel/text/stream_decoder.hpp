#pragma once
// Tokens to text one at a time, for showing an answer while it is made. No allocation after create().
// All that push() and finish() return, put together, is what Tokenizer::decode gives for the same tokens.

#include <span>
#include <string_view>

#include "tmodel/text/tokenizer.hpp"

namespace tmodel::inline v0 {

/// One conversation's answer. Not shared between threads; the tokenizer must outlive it.
class StreamDecoder {
 public:
  /// Longest run of byte tokens that is held back. The reference turns a whole run into U+FFFD if any of it is not
  /// UTF-8, so that nothing of it can be shown before it ends; a longer run is shown in parts of this size.
  static constexpr std::size_t max_byte_run = 4096;

  /// Errors: out_of_memory.
  template <TextTokenizer T>
  static expected<StreamDecoder> create(const T& tokenizer, bool skip_special = true) {
    StreamDecoder decoder;
    decoder.parts_ = &tokenizer.parts();
    decoder.skip_special_ = skip_special;
    // A byte becomes at most the three of U+FFFD; three bytes of a character may wait in front of a piece.
    const std::size_t piece = std::max<std::size_t>(decoder.parts_->vocabulary.longest_piece(), 4);
    TMODEL_TRY(decoder.out_, Buffer::allocate(3 * (piece + 8 + max_byte_run)));
    TMODEL_TRY(decoder.held_, Buffer::allocate(piece + 8 + max_byte_run));
    decoder.reset();
    return decoder;
  }

  /// The text that the token completes, often empty; valid until the next call.
  std::string_view push(token_t id) noexcept {
    using Kind = tokenization::Decoder::Kind;
    used_ = 0;
    const tokenization::Vocabulary& vocabulary = parts_->vocabulary;
    const tokenization::Decoder& decoder = parts_->decoder;
    const std::uint32_t flags = vocabulary.flags(id);
    if ((flags & tokenization::token_exists) == 0 || (skip_special_ && (flags & tokenization::token_special) != 0))
      return {};
    const bool first = std::exchange(first_, false);
    const std::string_view piece = vocabulary.piece(id);
    if (decoder.kind == Kind::byte_level) {
      hold(piece);
      flush_characters(false);
    } else if ((flags & tokenization::token_byte) != 0) {
      if (held_size_ + piece.size() > max_byte_run) flush_characters(false);
      hold(piece);
    } else {
      end_run();
      if (decoder.kind == Kind::metaspace && first && decoder.drops_first_marks) {
        put_without_marks(vocabulary.text(id), decoder.mark);
      } else {
        if (decoder.kind == Kind::joined && !first) put(" ");
        put(decoder.shown(vocabulary, id, !started_ && used_ == 0));
      }
    }
    return stripped();
  }

  /// What is still held back: half characters come as U+FFFD. Ready for the next answer then.
  std::string_view finish() noexcept {
    used_ = 0;
    parts_->decoder.kind == tokenization::Decoder::Kind::byte_level ? flush_characters(true) : end_run();
    const std::string_view rest = stripped();
    reset();
    return rest;
  }

  /// Forgets what is held back.
  void reset() noexcept {
    held_size_ = 0;
    first_ = true;
    started_ = false;
    strip_left_ = parts_->decoder.strip_count;
  }

 private:
  StreamDecoder() = default;
  char* out() const noexcept { return reinterpret_cast<char*>(out_.data()); }
  std::string_view held() const noexcept { return {reinterpret_cast<const char*>(held_.data()), held_size_}; }

  void put(std::string_view text) noexcept {
    std::memcpy(out() + used_, text.data(), text.size());
    used_ += text.size();
  }
  void put_without_marks(std::string_view text, std::string_view mark) noexcept {
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t found = std::min(text.find(mark, at), text.size());
      put(text.substr(at, found - at));
      at = found + mark.size();
    }
  }
  void hold(std::string_view bytes) noexcept {
    std::memcpy(held_.data() + held_size_, bytes.data(), bytes.size());
    held_size_ += bytes.size();
  }
  /// Puts out what is held, U+FFFD for what can no longer become a character; keeps a tail that still can, unless
  /// `all`.
  void flush_characters(bool all) noexcept {
    std::string_view rest = held();
    while (!rest.empty()) {
      const std::size_t good = tokenization::valid_prefix(rest);
      put(rest.substr(0, good));
      rest.remove_prefix(good);
      if (rest.empty()) break;
      const tokenization::Utf8Step step = tokenization::step_utf8(rest);
      if (step.truncated && !all) break;
      put(tokenization::replacement_text);
      rest.remove_prefix(step.length);
    }
    std::memmove(held_.data(), rest.data(), rest.size());
    held_size_ = rest.size();
  }
  /// A run of byte tokens is over.
  void end_run() noexcept {
    if (tokenization::valid_prefix(held()) == held_size_)
      put(held());
    else
      for (std::size_t i = 0; i < held_size_; ++i) put(tokenization::replacement_text);
    held_size_ = 0;
  }
  std::string_view stripped() noexcept {
    started_ |= used_ > 0;
    std::string_view text(out(), used_);
    while (strip_left_ > 0 && !text.empty()) {
      if (tokenization::decode_utf8(text) != parts_->decoder.strip) {
        strip_left_ = 0;
        break;
      }
      text.remove_prefix(tokenization::utf8_length_of(text[0]));
      --strip_left_;
    }
    return text;
  }

  const tokenization::TokenizerParts* parts_ = nullptr;
  bool skip_special_ = true, first_ = true, started_ = false;  ///< started: some text was there already
  std::uint32_t strip_left_ = 0;
  Buffer out_, held_;
  std::size_t used_ = 0, held_size_ = 0;
};

}  // namespace tmodel::inline v0
