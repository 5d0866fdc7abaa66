// What cannot be opened is refused with one sentence that names the key and the value.

#include <gtest/gtest.h>

#include "tmodel/any_transformer.hpp"
#include "tmodel/io/config_json.hpp"

namespace {

using namespace tmodel;

/// Error of a config.json without tensors, "" if it is accepted.
std::string refusal(std::string_view config) {
  TensorSource source;
  source.metadata.dialect = Dialect::huggingface;
  source.metadata.where = "config.json";
  if (auto read = read_config(std::as_bytes(std::span(config)), "config.json", "", source.metadata); !read)
    return "not JSON";
  const auto found = find_family(detail::data_of<AllFamilies>, source);
  if (!found) return found.error().message();
  const auto parsed = read_model_config(detail::data_of<AllFamilies>[*found], source);
  return parsed ? "" : parsed.error().message();
}

std::string config_of(std::string_view type, std::string_view keys) {
  return R"({"model_type":")" + std::string(type) +
         R"(","hidden_size":64,"intermediate_size":96,"num_hidden_layers":2,)" +
         R"("num_attention_heads":4,"num_key_value_heads":2,"vocab_size":100)" +
         (keys.empty() ? "" : "," + std::string(keys)) + "}";
}

struct Refusal {
  std::string config;
  std::vector<std::string> says;
};

const std::vector<Refusal> refusals{
    {config_of("mamba2", ""), {"mamba2", "nearest is gemma2", "HACKING.md", "llama"}},
    {config_of("qwen2_moe", ""), {"qwen2_moe", "nearest is qwen"}},
    {config_of("deepseek_v3", ""), {"deepseek_v3", "no family of this program opens the model"}},
    {config_of("gemma3n", ""), {"gemma3n", "nearest is gemma"}},
    {R"({"hidden_size":64})", {"no architecture named"}},
    {config_of("llama", R"("architectures":["LlamaForSequenceClassification"])"),
     {"architectures", "LlamaForSequenceClassification"}},
    {config_of("qwen3", R"("architectures":["Qwen3Model"])"), {"architectures", "Qwen3Model", "ForCausalLM"}},
    {config_of("llama", R"("quantization_config":{"quant_method":"gptq","bits":4})"),
     {"quantization_config.quant_method", "gptq"}},
    {config_of("llama", R"("quantization_config":{"quant_method":"awq"})"),
     {"quantization_config.quant_method", "awq"}},
    {config_of("mistral", R"("quantization_config":{"quant_method":"bitsandbytes","load_in_4bit":true})"),
     {"quantization_config.quant_method", "bitsandbytes"}},
    {config_of("qwen3", R"("quantization_config":{"quant_method":"fp8"})"),
     {"quantization_config.quant_method", "fp8"}},
    {config_of("llama", R"("rope_scaling":{"rope_type":"proportional","factor":2})"),
     {"rope_scaling.rope_type", "proportional", "yarn"}},
    {config_of("qwen2", R"("rope_scaling":{"type":"mrope","mrope_section":[1,2,3]})"), {"rope_scaling", "mrope"}},
    {config_of("llama", R"("rope_scaling":{"rope_type":"linear"})"), {"rope_scaling.factor", "missing"}},
    {config_of("llama", R"("rope_scaling":{"rope_type":"llama3","factor":8,"low_freq_factor":4,"high_freq_factor":4})"),
     {"high_freq_factor", "more than low_freq_factor"}},
    {config_of("phi3", R"("rope_scaling":{"type":"longrope","long_factor":[1,1]})"), {"short_factor", "missing"}},
    {config_of("phi3", R"("rope_scaling":{"type":"longrope","short_factor":[1,1,1],"long_factor":[1,1,1]})"),
     {"rope frequency factors", "8 values", "3"}},
    {config_of("llama", R"("hidden_act":"relu")"), {"hidden_act", "relu", "silu"}},
    {config_of("phi", R"("hidden_act":"gelu")"), {"hidden_act", "gelu", "gelu_new"}},
    {config_of("falcon", R"("activation":"relu")"), {"activation", "relu", "gelu"}},
    {config_of("gemma2", R"("hidden_activation":"silu")"), {"hidden_activation", "silu"}},
    {config_of("gemma2", R"("layer_types":["full_attention","chunked_attention"])"),
     {"layer_types", "chunked_attention"}},
    {config_of("qwen2", R"("use_sliding_window":true,"layer_types":["full_attention"])"),
     {"layer_types", "1 entries", "2"}},
    {config_of("gemma3_text", R"("use_bidirectional_attention":true)"), {"use_bidirectional_attention", "true"}},
    {R"({"model_type":"llama","num_attention_heads":4,"num_key_value_heads":3,"hidden_size":64})",
     {"key and value heads", "a divisor of 4", "3"}},
    {config_of("llama", R"("head_dim":15)"), {"head_dim", "15", "even"}},
    {config_of("phi", R"("partial_rotary_factor":0.01)"), {"partial_rotary_factor", "0 rotated"}},
    {config_of("stablelm", R"("layer_norm_eps":0)"), {"layer_norm_eps", "more than 0"}},
    {config_of("mixtral", R"("num_local_experts":2,"num_experts_per_tok":3)"),
     {"experts used for a token", "at most 2", "3"}},
    {config_of("qwen3_moe", R"("num_experts":0)"), {"num_experts", "0"}},
    {config_of("smollm3", R"("no_rope_layers":[1])"), {"no_rope_layers", "1 entries"}},
    {config_of("granite", R"("logits_scaling":0)"), {"logits_scaling", "more than 0"}},
    {R"({"model_type":"llama","hidden_size":"wide"})", {"hidden_size", "not a whole number"}},
};

TEST(FamilyRefusals, name_the_key_and_the_value_in_one_line) {
  EXPECT_GE(refusals.size(), 25u);
  for (const Refusal& r : refusals) {
    const std::string message = refusal(r.config);
    EXPECT_FALSE(message.empty()) << "accepted: " << r.config;
    EXPECT_EQ(message.find('\n'), message.npos) << message;
    for (const std::string& part : r.says)
      EXPECT_NE(message.find(part), message.npos) << "'" << part << "' is not in: " << message;
  }
}

TEST(FamilyRefusals, do_not_hit_what_is_supported) {
  for (const FamilyData& family : detail::data_of<AllFamilies>)
    for (const std::string_view type : family.model_types) EXPECT_EQ(refusal(config_of(type, "")), "") << type;
  // A class name alone will do, and a language model inside of one that sees.
  EXPECT_EQ(
      refusal(
          R"({"architectures":["Qwen3ForCausalLM"],"head_dim":16,"hidden_size":64,"intermediate_size":96,"num_hidden_layers":2,)"
          R"("num_attention_heads":4,"num_key_value_heads":2,"vocab_size":100})"),
      "");
  EXPECT_EQ(refusal(R"({"model_type":"llava","text_config":)" + config_of("llama", "") + "}"), "");
}

/// A GGUF file of the architecture "llama" is Llama's, and Mixtral's if it has experts.
TEST(FamilyRefusals, gguf_llama_is_what_its_keys_say) {
  const auto family_of = [](int experts) {
    TensorSource source;
    Metadata& m = source.metadata;
    m.where = "model.gguf";
    m.insert("general.architecture", std::string("llama"));
    for (const auto& [key, value] : {std::pair{"block_count", 2},
                                     {"embedding_length", 64},
                                     {"feed_forward_length", 96},
                                     {"attention.head_count", 4},
                                     {"vocab_size", 100}})
      m.insert("llama." + std::string(key), std::int64_t{value});
    if (experts > 0)
      m.insert("llama.expert_count", std::int64_t{experts}), m.insert("llama.expert_used_count", std::int64_t{2});
    const auto found = find_family(detail::data_of<AllFamilies>, source);
    return found ? std::string(detail::data_of<AllFamilies>[*found].name) : found.error().message();
  };
  EXPECT_EQ(family_of(0), "llama");
  EXPECT_EQ(family_of(4), "mixtral");
}

/// An absent window is not null, and some are dead numbers.
TEST(FamilyWindows, are_what_absent_null_and_switched_mean) {
  const auto window = [](std::string_view type, std::string_view keys) {
    TensorSource source;
    source.metadata.dialect = Dialect::huggingface;
    const std::string config = config_of(type, keys);
    EXPECT_TRUE(read_config(std::as_bytes(std::span(config)), "config.json", "", source.metadata));
    const auto found = find_family(detail::data_of<AllFamilies>, source);
    const auto parsed = read_model_config(detail::data_of<AllFamilies>[found.value()], source);
    return parsed ? parsed->plans.front().window : -1;
  };
  EXPECT_EQ(window("mistral", ""), 4096);
  EXPECT_EQ(window("mistral", R"("sliding_window":null)"), 0);
  EXPECT_EQ(window("mixtral", ""), 0);
  EXPECT_EQ(window("gemma2", ""), 4096);
  EXPECT_EQ(window("gemma3_text", ""), 4096);
  EXPECT_EQ(window("phi3", ""), 0);
  EXPECT_EQ(window("phi3", R"("sliding_window":2047)"), 2047);
  EXPECT_EQ(window("qwen2", R"("sliding_window":4096,"max_window_layers":0)"), 0);
  EXPECT_EQ(window("qwen2", R"("use_sliding_window":true,"max_window_layers":0)"), 4096);
  EXPECT_EQ(window("qwen3_moe", R"("use_sliding_window":true)"), 4096);
}

/// Configurations from before transformers knew the family.
TEST(FamilyNames, older_names_of_keys_are_read) {
  const auto config = [](std::string_view text) {
    TensorSource source;
    source.metadata.dialect = Dialect::huggingface;
    EXPECT_TRUE(read_config(std::as_bytes(std::span(text)), "config.json", "", source.metadata));
    const auto found = find_family(detail::data_of<AllFamilies>, source);
    return read_model_config(detail::data_of<AllFamilies>[found.value()], source).value();
  };
  const ModelConfig big = config(
      R"({"model_type":"RefinedWeb","hidden_size":64,"n_layer":3,"n_head":8,"n_head_kv":2,"vocab_size":100,"bias":false})");
  EXPECT_EQ(big.layers, 3);
  EXPECT_EQ(big.heads, 8);
  EXPECT_EQ(big.kv_heads, 2);
  EXPECT_EQ(big.ffn_dim, 256);
  EXPECT_EQ(big.variant, FalconTraits::two_norms);
  const ModelConfig small = config(
      R"({"model_type":"RefinedWebModel","hidden_size":64,"n_layer":1,"n_head":8,"multi_query":true,"vocab_size":100})");
  EXPECT_EQ(small.kv_heads, 1);
  EXPECT_EQ(small.variant, FalconTraits::one_norm);
  const ModelConfig stable = config(
      R"({"model_type":"stablelm_epoch","hidden_size":128,"num_attention_heads":2,"num_key_value_heads":2,"rope_pct":0.5})");
  EXPECT_EQ(stable.rotary_dim, 32);
}

}  // namespace
