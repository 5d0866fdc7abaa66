// Every verdict of the malformed and edge-case files, and every sound file of the shared data.

#include <gtest/gtest.h>

#include "io/counted_new.hpp"
#include "io/read_everything.hpp"
#include "tmodel/core/json.hpp"
#include "tmodel/io/model_files.hpp"

namespace tmodel::testing {
namespace {

const std::string data = TMODEL_CONFORMANCE_DATA;
volatile std::uint64_t sink = 0;

std::string problem(const expected<ModelFiles>& model) { return model ? "" : model.error().message(); }

/// Opens one file as a container and, if that went well, reads all of it.
expected<void> read_container(const os::MappedFile& file, std::string_view path) {
  TensorSource source;
  if (path.ends_with(".safetensors"))
    TMODEL_CHECK(read_safetensors(file.bytes(), path, source));
  else
    TMODEL_CHECK(read_gguf(file.bytes(), path, source));
  sink = sink + read_everything(source);  // the sum says nothing; the sanitizer watches the reads
  return {};
}

TEST(ConformanceMalformed, every_file_gets_its_verdict) {
  const auto list = os::MappedFile::open(data + "/malformed/expectations.json");
  ASSERT_TRUE(list);
  const auto document = JsonDocument::parse(list->text(), "expectations.json");
  ASSERT_TRUE(document);
  int accepted = 0, refused = 0, either = 0;
  for (Json item = document->root().first(); item; item = item.next()) {
    const std::string name(item["file"].string());
    const std::string_view verdict = item["expect"].string();
    SCOPED_TRACE(name + ": " + std::string(item["why"].string()) + ": " + std::string(verdict));
    const auto file = os::MappedFile::open(data + "/malformed/" + name);
    ASSERT_TRUE(file);
    ASSERT_EQ(file->bytes().size(), static_cast<std::size_t>(item["bytes"].integer().value_or(-1)));

    const std::size_t before = Allocations::start_peak();
    const expected<void> read = read_container(*file, name);
    const std::size_t peak = Allocations::peak - before;
    EXPECT_LE(peak, 16384 + 64 * file->bytes().size()) << "memory out of proportion to the file";

    const std::string said = read ? "" : read.error().message();
    EXPECT_TRUE(is_one_line_of_utf8(said)) << said;
    EXPECT_TRUE(read || !read.error().what.empty());
    if (verdict.starts_with("accept")) {
      EXPECT_EQ(said, "");
      ++accepted;
    } else if (verdict.starts_with("reject") && verdict.find("as model") == std::string_view::npos) {
      EXPECT_FALSE(read);
      ++refused;
    } else {
      ++either;
    }
    if (verdict.find("git-lfs pointer") != std::string_view::npos) {
      EXPECT_NE(said.find("git-lfs pointer"), std::string::npos) << said;
    }
  }
  EXPECT_EQ(accepted, 11);
  EXPECT_EQ(refused, 52);
  EXPECT_EQ(either, 5);  // four "either", and one that is refused as a model only
}

TEST(ConformanceMalformed, a_file_is_refused_by_path_as_by_its_bytes) {
  EXPECT_NE(problem(open_model(data + "/malformed/gguf_own/lfs_pointer.gguf")).find("git-lfs pointer"),
            std::string::npos);
  EXPECT_NE(problem(open_model(data + "/malformed/gguf_own/html.gguf")).find("HTML"), std::string::npos);
  EXPECT_NE(problem(open_model(data + "/malformed/gguf_own")).find("several GGUF files"), std::string::npos);
  EXPECT_NE(problem(open_model(data + "/malformed/safetensors_own")).find("no model"), std::string::npos);
}

TEST(ConformanceRealFiles, stories_open_in_every_format) {
  const std::string folder = data + "/models/stories260K/derived/";
  for (const char* name :
       {"stories260K-f32.gguf", "stories260K-f16.gguf", "stories260K-q8_0.gguf", "stories260K-q4_0.gguf"}) {
    const auto model = open_model(folder + name);
    ASSERT_EQ(problem(model), "") << name;
    EXPECT_EQ(model->source.tensors.size(), 47u) << name;
    const TensorInfo* embedding = model->source.find("token_embd.weight");
    ASSERT_NE(embedding, nullptr);
    EXPECT_EQ(embedding->shape[0], 512u) << "[vocabulary, dim]";
    EXPECT_EQ(embedding->shape[1], 64u);
    EXPECT_EQ(model->source.metadata.integer("llama.block_count"), 5);
    EXPECT_EQ(model->source.metadata.array("tokenizer.ggml.tokens")->count, 512u);
    sink = sink + read_everything(*model);
  }
  for (const char* name : {"hf", "hf-bf16", "hf/model.safetensors"}) {
    const auto model = open_model(folder + name);
    ASSERT_EQ(problem(model), "") << name;
    EXPECT_EQ(model->source.tensors.size(), 47u) << name;
    EXPECT_EQ(model->source.find("model.embed_tokens.weight")->shape[0], 512u);
    EXPECT_EQ(model->source.metadata.integer("num_hidden_layers"), 5);
    EXPECT_FALSE(model->tokenizer_json.empty());
    EXPECT_FALSE(model->tokenizer_config_json.empty());
    sink = sink + read_everything(*model);
  }
  EXPECT_EQ(open_model(folder + "hf")->source.find("model.norm.weight")->format, 0u);
  EXPECT_EQ(open_model(folder + "hf-bf16")->source.find("model.norm.weight")->format, 30u);
}

TEST(ConformanceRealFiles, gguf_and_safetensors_hold_the_same_f32_weights) {
  const std::string folder = data + "/models/stories260K/derived/";
  const auto gguf = open_model(folder + "stories260K-f32.gguf"), hf = open_model(folder + "hf");
  ASSERT_TRUE(gguf && hf);
  // Not q and k: GGUF's converter permutes their rows.
  for (const auto& [ours, theirs] : {std::pair("token_embd.weight", "model.embed_tokens.weight"),
                                     {"output_norm.weight", "model.norm.weight"},
                                     {"blk.3.ffn_down.weight", "model.layers.3.mlp.down_proj.weight"},
                                     {"blk.0.attn_v.weight", "model.layers.0.self_attn.v_proj.weight"}}) {
    const TensorInfo *a = gguf->source.find(ours), *b = hf->source.find(theirs);
    ASSERT_TRUE(a != nullptr && b != nullptr) << ours;
    EXPECT_EQ(a->shape, b->shape) << ours;
    EXPECT_TRUE(std::equal(a->data.begin(), a->data.end(), b->data.begin(), b->data.end())) << ours;
  }
}

TEST(ConformanceRealFiles, vocabulary_only_gguf_files_open) {
  for (const char* name : {"deepseek-coder", "deepseek-llm", "llama-spm", "mpt"}) {
    const auto model = open_model(data + "/gguf_vocab/" + name + ".gguf", OpenWhat::no_weights);
    ASSERT_EQ(problem(model), "") << name;
    const MetaArray* tokens = model->source.metadata.array("tokenizer.ggml.tokens");
    ASSERT_NE(tokens, nullptr);
    EXPECT_GT(tokens->count, 30000u);
  }
}

TEST(ConformanceRealFiles, tokenizer_folders_open_without_weights) {
  for (const char* name : {"falcon", "gpt2", "mistral03", "phi-2", "phi-3", "qwen2.5", "qwen3"}) {
    const auto model = open_model(data + "/tokenizers/" + name, OpenWhat::no_weights);
    ASSERT_EQ(problem(model), "") << name;
    EXPECT_FALSE(model->tokenizer_json.empty() && model->tokenizer_config_json.empty()) << name;
    EXPECT_FALSE(open_model(data + "/tokenizers/" + name)) << "no weights there";
  }
  EXPECT_FALSE(open_model(data + "/tokenizers/mistral03", OpenWhat::no_weights)->tokenizer_model.empty());
  EXPECT_EQ(problem(open_model(data + "/tokenizers/gpt2/tokenizer.json", OpenWhat::no_weights)), "");
}

}  // namespace
}  // namespace tmodel::testing
