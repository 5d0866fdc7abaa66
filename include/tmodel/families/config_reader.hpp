#pragma once
// Reading a configuration in both dialects: one fact under its names, and the first error of a whole reading.
// Keys: transformers' configuration classes; GGUF specification and converters.

#include <cmath>
#include <optional>
#include <string>
#include <string_view>

#include "tmodel/core/concepts.hpp"
#include "tmodel/core/metadata.hpp"

namespace tmodel::inline v0::families {

/// One fact under its two names. GGUF's is preceded by the architecture and a dot; config.json's may be followed by an
/// older name after '|'.
struct Key {
  std::string_view huggingface, gguf;
};

namespace keys {
inline constexpr Key layers{"num_hidden_layers|n_layer", "block_count"};
inline constexpr Key dim{"hidden_size|n_embed", "embedding_length"};
inline constexpr Key ffn_dim{"intermediate_size|ffn_hidden_size", "feed_forward_length"};
inline constexpr Key heads{"num_attention_heads|n_head", "attention.head_count"};
inline constexpr Key kv_heads{"num_key_value_heads|num_kv_heads|n_head_kv", "attention.head_count_kv"};
inline constexpr Key head_dim{"head_dim", "attention.key_length"};
inline constexpr Key rms_eps{"rms_norm_eps", "attention.layer_norm_rms_epsilon"};
inline constexpr Key layer_eps{"layer_norm_eps|layer_norm_epsilon", "attention.layer_norm_epsilon"};
inline constexpr Key max_positions{"max_position_embeddings", "context_length"};
inline constexpr Key vocab{"vocab_size", "vocab_size"};
inline constexpr Key window{"sliding_window", "attention.sliding_window"};
inline constexpr Key window_period{"sliding_window_pattern|_sliding_window_pattern",
                                   "attention.sliding_window_pattern"};
inline constexpr Key experts{"num_local_experts|num_experts", "expert_count"};
inline constexpr Key experts_used{"num_experts_per_tok", "expert_used_count"};
inline constexpr Key expert_ffn_dim{"moe_intermediate_size", "expert_feed_forward_length"};
inline constexpr Key attention_softcap{"attn_logit_softcapping", "attn_logit_softcapping"};
inline constexpr Key final_softcap{"final_logit_softcapping", "final_logit_softcapping"};
}  // namespace keys

/// Reads keys of one file by either name and remembers the first error. A missing key takes the given default, and so
/// does one that is null, unless the caller asks is_null(). Files of a model that also sees keep the language model's
/// keys under "text_config".
class ConfigReader {
 public:
  ConfigReader(const Metadata& m, HasTensor has_tensor)
      : m_(m), has_tensor_(has_tensor), gguf_(m.dialect == Dialect::gguf) {
    if (gguf_)
      prefix_ = std::string(m.string("general.architecture").value_or("")) + ".";
    else if (m.has("text_config.model_type") || m.has("text_config.hidden_size"))
      prefix_ = "text_config.";
  }
  bool gguf() const noexcept { return gguf_; }
  /// The language model is a part of one that also sees.
  bool nested() const noexcept { return !gguf_ && !prefix_.empty(); }
  const Metadata& metadata() const noexcept { return m_; }
  bool has_tensor(std::string_view name) const { return has_tensor_(name); }
  /// The name that the file uses, or would use.
  std::string name(const Key& key) const {
    if (gguf_) return prefix_ + std::string(key.gguf);
    std::string_view rest = key.huggingface;
    for (;;) {
      const std::size_t bar = rest.find('|');
      std::string one = prefix_ + std::string(rest.substr(0, bar));
      if (m_.has(one)) return one;
      if (bar == rest.npos) return prefix_ + std::string(key.huggingface.substr(0, key.huggingface.find('|')));
      rest.remove_prefix(bar + 1);
    }
  }
  /// A key of config.json.
  std::string name(std::string_view huggingface) const {
    return gguf_ ? std::string(huggingface) : prefix_ + std::string(huggingface);
  }
  template <class Name>
  bool has(const Name& key) const {
    return m_.has_value(name(key));
  }
  template <class Name>
  bool is_null(const Name& key) const {
    return m_.has(name(key)) && !has(key);
  }
  const MetaArray* array(std::string_view key) const { return m_.array(name(key)); }

  /// A size: at least `low`. Without a default the key must be there.
  int size(const Key& key, int low, int otherwise = -1) {
    const std::string n = name(key);
    const auto* array = m_.array(n);
    auto value = m_.integer(n);
    if (array != nullptr) value = uniform(*array, n);
    if (!value) {
      if (m_.has_value(n) || otherwise < 0) refuse(n, m_.has_value(n) ? "not a whole number" : "missing");
      return otherwise < low ? low : otherwise;
    }
    if (*value < low || *value > size_limit) {
      refuse(n, std::to_string(*value), std::to_string(low) + " to " + std::to_string(size_limit));
      return low;
    }
    return static_cast<int>(*value);
  }
  template <class Name>
  f64 number(const Name& key, f64 otherwise) {
    const std::string n = name(key);
    if (!m_.has_value(n)) return otherwise;
    const auto value = m_.number(n);
    if (!value || !std::isfinite(*value)) return refuse(n, "not a finite number"), otherwise;
    return *value;
  }
  template <class Name>
  f64 positive(const Name& key, f64 otherwise) {
    const f64 value = number(key, otherwise);
    if (!(value > 0)) refuse(name(key), std::to_string(value), "more than 0");
    return value;
  }
  bool flag(std::string_view key, bool otherwise) {
    const std::string n = name(key);
    if (!m_.has_value(n)) return otherwise;
    const auto value = m_.boolean(n);
    if (!value) refuse(n, "not true or false");
    return value.value_or(otherwise);
  }
  std::string_view text(std::string_view key, std::string_view otherwise) const {
    return m_.string(name(key)).value_or(otherwise);
  }

  void refuse(std::string_view key, std::string_view got, std::string_view expected = {},
              Errc code = Errc::bad_metadata) {
    if (!error_)
      error_.emplace(code, code == Errc::unsupported ? "this setting" : "configuration key",
                     std::string(key) + " in " + m_.where, expected, got);
  }
  void unsupported(std::string_view key, std::string_view got, std::string_view expected) {
    refuse(key, got, expected, Errc::unsupported);
  }
  /// The configuration, or the first error.
  expected<ModelConfig> result(ModelConfig config) {
    if (error_) return tl::unexpected<Error>(*std::move(error_));
    return config;
  }

 private:
  /// GGUF allows an array with one value per layer; equal ones are one value.
  std::optional<std::int64_t> uniform(const MetaArray& array, const std::string& key) {
    MetaReader reader(array);
    if (array.count == 0 || array.type == MetaType::string || array.type == MetaType::array) return std::nullopt;
    const f64 first = reader.number();
    while (!reader.done())
      if (reader.number() != first)
        return refuse(key, "values that differ from layer to layer", {}, Errc::unsupported), std::nullopt;
    if (!(std::fabs(first) < 0x1p31)) return std::nullopt;
    return static_cast<std::int64_t>(first);
  }

  static constexpr std::int64_t size_limit = 1 << 30;
  const Metadata& m_;
  HasTensor has_tensor_;
  bool gguf_;
  std::string prefix_;
  std::optional<Error> error_;
};

}  // namespace tmodel::inline v0::families
