#pragma once
// What a SentencePiece model says, and the reader of a tokenizer.model, which is a serialised protobuf message.
// Facts: sentencepiece_model.proto (field numbers and defaults).

#include <string_view>
#include <vector>

#include "tmodel/core/error.hpp"
#include "tmodel/core/types.hpp"

namespace tmodel::inline v0::tokenization {

/// What a piece is; the numbers of tokenizer.model and of GGUF's token_type.
enum class PieceType : int { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };

/// What a model says, wherever it is stored.
struct SentencePieceModel {
  struct Piece {
    std::string_view text;
    f32 score = 0;
    PieceType type = PieceType::normal;
  };
  bool unigram = true;
  std::vector<Piece> pieces;
  std::string_view charsmap;
  bool add_dummy_prefix = true, remove_extra_whitespaces = true;
  std::string_view unknown_surface = " \xE2\x81\x87 ";  ///< what the unknown token is decoded to
  token_t bos = -1, eos = -1;
  std::string_view
      other_kind{};           ///< neither unigram nor BPE: its name, for which only the sentencepiece library encodes
  std::string_view beyond{};  ///< what of the model is not supported; empty: nothing
};

namespace detail {

/// Walks the fields of one protobuf message. Damage ends the walk and is told by ok().
class ProtoFields {
 public:
  explicit ProtoFields(std::string_view bytes) : rest_(bytes) {}

  /// Steps to the next field; false at the end or at damage.
  bool next() {
    if (rest_.empty() || !ok_) return false;
    const std::uint64_t key = varint();
    field = static_cast<std::uint32_t>(key >> 3);
    bytes = {};
    number = 0;
    switch (key & 7u) {
      case 0:
        number = varint();
        break;
      case 1:
        skip(8);
        break;
      case 2:
        bytes = take(varint());
        break;
      case 5: {
        const std::string_view raw = take(4);
        if (ok_) real = load_unaligned<f32>(raw.data());
        break;
      }
      default:
        ok_ = false;
    }
    ok_ = ok_ && key >> 3 != 0 && key >> 3 <= 0x1FFFFFFFu;
    return ok_;
  }
  bool ok() const noexcept { return ok_; }

  std::uint32_t field = 0;
  std::string_view bytes;  ///< of a text or message
  std::uint64_t number = 0;
  f32 real = 0;

 private:
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(rest_[0]);
      rest_.remove_prefix(1);
      value |= static_cast<std::uint64_t>(byte & 0x7Fu) << shift;
      if (byte < 0x80u) return value;
    }
    ok_ = false;
    return 0;
  }
  std::string_view take(std::uint64_t n) {
    if (n > rest_.size()) return (ok_ = false, std::string_view());
    const std::string_view taken = rest_.substr(0, static_cast<std::size_t>(n));
    rest_.remove_prefix(static_cast<std::size_t>(n));
    return taken;
  }
  void skip(std::uint64_t n) { (void)take(n); }
  std::string_view rest_;
  bool ok_ = true;
};

/// Reads one ModelProto.
class ModelProtoReader {
 public:
  ModelProtoReader(std::string_view bytes, std::string_view where) : bytes_(bytes), where_(where) {}

  expected<SentencePieceModel> run() {
    ProtoFields fields(bytes_);
    bool has_trainer = false;
    while (fields.next()) {
      if (fields.field == 1) TMODEL_CHECK(read_piece(fields.bytes));
      if (fields.field == 2) TMODEL_CHECK(read_trainer(fields.bytes));
      has_trainer |= fields.field == 2;
      if (fields.field == 3) TMODEL_CHECK(read_normalizer(fields.bytes, false));
      if (fields.field == 5) TMODEL_CHECK(read_normalizer(fields.bytes, true));
    }
    if (!fields.ok() || !has_trainer || model_.pieces.empty()) return damaged();
    model_.unigram = kind_ == 1;
    if (kind_ != 1 && kind_ != 2) model_.other_kind = kind_ == 3 ? "a model of words" : "a model of chars";
    const auto id_of = [&](std::int64_t id) {
      const bool inside = id >= 0 && static_cast<std::uint64_t>(id) < model_.pieces.size();
      return inside && model_.pieces[static_cast<std::size_t>(id)].type == PieceType::control ? static_cast<token_t>(id)
                                                                                              : -1;
    };
    model_.bos = id_of(bos_), model_.eos = id_of(eos_);
    return std::move(model_);
  }

 private:
  tl::unexpected<Error> damaged() const { return fail(Errc::bad_file, "not a SentencePiece model", where_); }

  expected<void> read_piece(std::string_view bytes) {
    SentencePieceModel::Piece piece;
    ProtoFields fields(bytes);
    while (fields.next()) {
      if (fields.field == 1) piece.text = fields.bytes;
      if (fields.field == 2) piece.score = fields.real;
      if (fields.field == 3 && (fields.number < 1 || fields.number > 6)) return damaged();
      if (fields.field == 3) piece.type = static_cast<PieceType>(fields.number);
    }
    if (!fields.ok() || model_.pieces.size() >= 0x1000000) return damaged();
    model_.pieces.push_back(piece);
    return {};
  }

  expected<void> read_trainer(std::string_view bytes) {
    ProtoFields fields(bytes);
    while (fields.next()) {
      if (fields.field == 3) kind_ = fields.number;
      if (fields.field == 24 && fields.number != 0) model_.beyond = "treat_whitespace_as_suffix";
      if (fields.field == 41) bos_ = static_cast<std::int64_t>(fields.number);
      if (fields.field == 42) eos_ = static_cast<std::int64_t>(fields.number);
      if (fields.field == 44) model_.unknown_surface = fields.bytes;
    }
    return fields.ok() ? expected<void>{} : damaged();
  }

  expected<void> read_normalizer(std::string_view bytes, bool after_decoding) {
    ProtoFields fields(bytes);
    while (fields.next()) {
      if (after_decoding) {
        if (fields.field == 2 && !fields.bytes.empty()) model_.beyond = "a denormalizer";
        continue;
      }
      if (fields.field == 2) model_.charsmap = fields.bytes;
      if (fields.field == 3) model_.add_dummy_prefix = fields.number != 0;
      if (fields.field == 4) model_.remove_extra_whitespaces = fields.number != 0;
      if (fields.field == 5 && fields.number == 0) model_.beyond = "escape_whitespaces off";
    }
    return fields.ok() ? expected<void>{} : damaged();
  }

  std::string_view bytes_, where_;
  SentencePieceModel model_;
  std::uint64_t kind_ = 1;
  std::int64_t bos_ = 1, eos_ = 2;
};
}  // namespace detail

/// Reads the bytes of a tokenizer.model, which must outlive the result. Errors: bad_file, out_of_memory.
inline expected<SentencePieceModel> read_model_proto(std::string_view bytes, std::string_view where) {
  return detail::ModelProtoReader(bytes, where).run();
}

}  // namespace tmodel::inline v0::tokenization
