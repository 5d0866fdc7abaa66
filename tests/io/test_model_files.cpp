// What open_model takes for a model: which files belong to it, and how a configuration is flattened.

#include "tmodel/io/model_files.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include "io/counted_new.hpp"
#include "io/tiny_files.hpp"

namespace tmodel::testing {
namespace {

template <class T>
std::string problem(const expected<T>& result) {
  return result ? "" : result.error().message();
}
std::string problem(const FolderFiles& folder, OpenWhat what = OpenWhat::everything) {
  return problem(open_model(folder.named(), "folder", what));
}

/// A folder on disk that goes away with its files.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    char name[] = "./tmodel_test_XXXXXX";
    if (::mkdtemp(name) != nullptr) path_ = name;
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    for (const std::string& file : files_) std::remove(file.c_str());
    ::rmdir(path_.c_str());
  }
  const std::string& path() const { return path_; }
  std::string write(const std::string& name, std::string_view content) {
    const std::string file = path_ + "/" + name;
    files_.push_back(file);
    std::FILE* out = std::fopen(file.c_str(), "wb");
    EXPECT_NE(out, nullptr);
    if (out == nullptr) return file;
    EXPECT_EQ(std::fwrite(content.data(), 1, content.size(), out), content.size());
    std::fclose(out);
    return file;
  }
  void write(const FolderFiles& folder) {
    for (const auto& [name, content] : folder.files) write(name, content);
  }

 private:
  std::string path_;
  std::vector<std::string> files_;
};

/// One shard, no index.
FolderFiles single_folder() {
  FolderFiles folder;
  folder.files = {{"config.json", R"({"model_type":"llama"})"},
                  {"model.safetensors", SafetensorsBuilder().tensor("t", "F32", {2}, "12345678").build()},
                  {"tokenizer.json", "{}"}};
  return folder;
}

std::vector<std::string> split_gguf() {
  std::vector<std::string> parts;
  for (std::uint16_t i = 0; i < 3; ++i) {
    GgufBuilder part;
    if (i == 0) part.add("general.architecture", "llama");
    part.add("split.no", i).add("split.count", std::uint16_t{3}).add("split.tensors.count", std::int32_t{3});
    part.tensor("t" + std::to_string(i), 0, {8}, std::string(32, static_cast<char>('a' + i)));
    parts.push_back(part.build());
  }
  return parts;
}

TEST(ConfigJson, is_flattened_with_types_kept) {
  Metadata m;
  const std::string text =
      R"({"int":3,"big":9223372036854775807,"huge":18446744073709551615,"float":1e-5,"whole":10000.0,"yes":true,
      "none":null,"text":"caf\u00e9","dict":{"factor":8.0,"inner":{"k":1}},"empty_dict":{},"ids":[1,-2],"mixed":[1,2.5],
      "names":["a",""],"flags":[true,false],"empty":[],"lists":[[1],[2]],"dicts":[{"a":1}],"odd":[1,"a"],"holes":[1,null]})";
  ASSERT_EQ(problem(read_config(bytes_of(text), "config.json", "", m)), "");
  EXPECT_EQ(m.integer("int"), 3);
  EXPECT_NE(std::get_if<std::int64_t>(m.find("int")), nullptr);
  EXPECT_EQ(m.integer("big"), 9223372036854775807);
  EXPECT_EQ(m.number("huge"), 0x1p64);
  EXPECT_EQ(m.number("float"), 1e-5);
  EXPECT_NE(std::get_if<f64>(m.find("whole")), nullptr);
  EXPECT_EQ(m.boolean("yes"), true);
  EXPECT_TRUE(m.has("none") && !m.has_value("none"));
  EXPECT_EQ(m.string("text"), "caf\xC3\xA9");
  EXPECT_EQ(m.number("dict.factor"), 8.0);
  EXPECT_EQ(m.integer("dict.inner.k"), 1);
  EXPECT_FALSE(m.has("dict"));
  EXPECT_TRUE(m.has("empty_dict") && !m.has_value("empty_dict"));

  const auto numbers = [&](std::string_view key) {
    std::vector<f64> values;
    for (MetaReader r(*m.array(key)); !r.done();) values.push_back(r.number());
    return values;
  };
  EXPECT_EQ(m.array("ids")->type, MetaType::i64);
  EXPECT_EQ(numbers("ids"), (std::vector<f64>{1, -2}));
  EXPECT_EQ(m.array("mixed")->type, MetaType::f64);
  EXPECT_EQ(numbers("mixed"), (std::vector<f64>{1, 2.5}));
  EXPECT_EQ(m.array("flags")->type, MetaType::boolean);
  EXPECT_EQ(numbers("flags"), (std::vector<f64>{1, 0}));
  EXPECT_EQ(m.array("names")->type, MetaType::string);
  MetaReader names(*m.array("names"));
  EXPECT_EQ(names.string(), "a");
  EXPECT_FALSE(names.done());
  EXPECT_EQ(names.string(), "");
  EXPECT_TRUE(names.done());
  EXPECT_EQ(m.array("empty")->count, 0u);
  for (const char* key : {"lists", "dicts", "odd", "holes"}) {  // there, but not read
    ASSERT_NE(m.array(key), nullptr) << key;
    EXPECT_EQ(m.array(key)->type, MetaType::array) << key;
    EXPECT_TRUE(m.array(key)->raw.empty()) << key;
    EXPECT_LE(numbers(key).size(), 1u) << key;
  }
  EXPECT_EQ(m.array("lists")->count, 2u);
}

TEST(ConfigJson, damaged_ones_are_refused) {
  const auto said = [](std::string_view text) {
    Metadata m;
    return problem(read_config(bytes_of(text), "config.json", "", m));
  };
  EXPECT_SAYS(said(""), "empty file");
  EXPECT_SAYS(said("[1]"), "not a JSON object");
  EXPECT_SAYS(said("{\"a\":1,\"a\":2}"), "twice");
  EXPECT_SAYS(said("{\"a\":"), "not JSON");
  EXPECT_SAYS(said("version https://git-lfs.github.com/spec/v1\noid"), "git-lfs pointer");
  EXPECT_SAYS(said("<html>"), "HTML");
  EXPECT_SAYS(said(std::string(file_limits::config_bytes + 1, ' ')), "too long");
  std::string deep;
  for (int i = 0; i < 5000; ++i) deep += "{\"a\":";
  EXPECT_SAYS(said(deep), "nested deeper");
}

TEST(ConfigJson, long_keys_that_nesting_would_repeat_are_bounded) {
  std::string text = "{\"" + std::string(1 << 20, 'k') + "\":{";
  for (int i = 0; i < 20; ++i) text += (i == 0 ? "\"" : ",\"") + std::to_string(i) + "\":1";
  Metadata m;
  EXPECT_SAYS(problem(read_config(bytes_of(text + "}}"), "config.json", "", m)), "too many keys");
}

TEST(OpenModel, a_folder_with_one_safetensors_file) {
  FolderFiles files = single_folder();
  files.files.push_back({"generation_config.json", R"({"eos_token_id":[2,3]})"});
  files.files.push_back({"consolidated.safetensors", "not even read"});
  const auto model = open_model(files.named(), "folder");
  ASSERT_EQ(problem(model), "");
  EXPECT_EQ(model->source.tensors.size(), 1u);
  EXPECT_EQ(model->source.metadata.dialect, Dialect::huggingface);
  EXPECT_EQ(model->source.metadata.where, "folder/config.json");
  EXPECT_EQ(model->source.metadata.string("model_type"), "llama");
  EXPECT_EQ(model->source.metadata.array("generation_config.eos_token_id")->count, 2u);
  EXPECT_EQ(model->tokenizer_json, "{}");
  EXPECT_TRUE(model->chat_template_jinja.empty());
}

TEST(OpenModel, every_text_file_is_found) {
  FolderFiles files = single_folder();
  for (const char* name :
       {"tokenizer_config.json", "generation_config.json", "special_tokens_map.json", "chat_template.json"})
    files.files.push_back({name, "{}"});
  files.files.push_back({"chat_template.jinja", "{{ x }}"});
  files.files.push_back({"tokenizer.model", "\n\x0E"});
  const auto m = open_model(files.named(), "folder");
  ASSERT_EQ(problem(m), "");
  EXPECT_EQ(m->tokenizer_config_json, "{}");
  EXPECT_EQ(m->generation_config_json, "{}");
  EXPECT_EQ(m->special_tokens_map_json, "{}");
  EXPECT_EQ(m->chat_template_json, "{}");
  EXPECT_EQ(m->chat_template_jinja, "{{ x }}");
  EXPECT_EQ(m->tokenizer_model, "\n\x0E");
}

TEST(OpenModel, the_index_decides_which_files_are_read) {
  FolderFiles files = tiny_folder();
  files.files.push_back({"model-00001-of-00003.safetensors", "a stale shard"});
  const auto model = open_model(files.named(), "folder");
  ASSERT_EQ(problem(model), "");
  EXPECT_EQ(model->source.tensors.size(), 20u);
  EXPECT_NE(model->source.find("model.norm.weight"), nullptr);
  EXPECT_EQ(model->source.metadata.string("rope_scaling.rope_type"), "linear");
}

TEST(OpenModel, a_missing_shard_is_named) {
  FolderFiles files = tiny_folder();
  files.files.pop_back();
  EXPECT_SAYS(problem(files), "model-00002-of-00002.safetensors");
  EXPECT_SAYS(problem(files), "download all parts");
  files.files.push_back({"model.safetensors", SafetensorsBuilder().build()});
  EXPECT_SAYS(problem(files), "if the index is stale") << "an index beside a single file decides, and says what to do";
}

TEST(OpenModel, index_and_shards_must_hold_the_same_tensors) {
  const std::string a = SafetensorsBuilder().tensor("a", "I8", {1}, "1").build();
  const std::string b = SafetensorsBuilder().tensor("b", "I8", {1}, "2").tensor("c", "I8", {1}, "3").build();
  const auto with_map = [&](const std::string& map) {
    FolderFiles files;
    files.files = {{"config.json", "{}"},
                   {"a.safetensors", a},
                   {"b.safetensors", b},
                   {"model.safetensors.index.json", "{\"weight_map\":{" + map + "}}"}};
    return problem(files);
  };
  EXPECT_EQ(with_map(R"("a":"a.safetensors","b":"b.safetensors","c":"b.safetensors")"), "");
  EXPECT_SAYS(with_map(R"("a":"a.safetensors","b":"b.safetensors")"), "does not list this tensor");
  EXPECT_SAYS(with_map(R"("a":"a.safetensors","b":"b.safetensors","c":"a.safetensors")"), "does not list this tensor");
  const std::string missing =
      with_map(R"("a":"a.safetensors","b":"b.safetensors","c":"b.safetensors","d":"a.safetensors")");
  EXPECT_SAYS(missing, "not in its file");
  EXPECT_SAYS(missing, "tensor d");
  EXPECT_SAYS(with_map(""), "no weight_map");
  EXPECT_SAYS(with_map(R"("a":1)"), "not a string");
}

TEST(OpenModel, an_index_cannot_lead_out_of_the_folder) {
  for (const std::string name :
       {"../a.safetensors", "/etc/a.safetensors", "sub/a.safetensors", "..\\\\a.safetensors", "a..safetensors",
        "a.safetensors\\u0000.safetensors", "\\n.safetensors", "c:a.safetensors", "model.bin", ""}) {
    FolderFiles files;
    files.files = {{"config.json", "{}"},
                   {"model.safetensors.index.json", "{\"weight_map\":{\"t\":\"" + name + "\"}}"}};
    EXPECT_SAYS(problem(files), "cannot be a part") << name;
  }
}

TEST(OpenModel, damage_in_any_file_of_the_folder_is_an_error_that_names_it) {
  for (const std::string name : {"config.json", "generation_config.json", "model.safetensors.index.json",
                                 "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"}) {
    FolderFiles files = tiny_folder();
    files.find(name)->resize(files.find(name)->size() / 2);
    EXPECT_SAYS(problem(files), name);
  }
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "model-00001-of-00002.safetensors", "config.json",
                           "model.safetensors.index.json"}) {
    FolderFiles files = tiny_folder();
    *files.find(name) = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n";
    EXPECT_SAYS(problem(files), "git-lfs pointer");
    EXPECT_SAYS(problem(files), name);
  }
}

TEST(OpenModel, weights_need_a_config) {
  FolderFiles files = single_folder();
  files.files.erase(files.files.begin());
  EXPECT_SAYS(problem(files), "config.json");
  EXPECT_EQ(problem(files, OpenWhat::no_weights), "");
}

TEST(OpenModel, tokenizer_files_alone_are_enough_without_weights) {
  FolderFiles files;
  files.files = {{"tokenizer_config.json", "{}"}};
  EXPECT_EQ(problem(files, OpenWhat::no_weights), "");
  EXPECT_SAYS(problem(files), "no model in this folder");
  files.files = {{"README.md", "hello"}};
  EXPECT_SAYS(problem(files, OpenWhat::no_weights), "no model in this folder");
  files.files.push_back({"pytorch_model.bin", "PK"});
  EXPECT_SAYS(problem(files), "PyTorch");
}

TEST(OpenModel, a_folder_with_one_gguf_or_one_split_set) {
  FolderFiles files;
  files.files = {{"README.md", ""}, {"config.json", "{}"}, {"tiny.gguf", tiny_gguf().build()}};
  const auto one = open_model(files.named(), "folder");
  ASSERT_EQ(problem(one), "");
  EXPECT_EQ(one->source.metadata.dialect, Dialect::gguf);
  EXPECT_EQ(one->source.metadata.where, "folder/tiny.gguf");
  files.files.push_back({"other.gguf", "GGUF"});
  EXPECT_SAYS(problem(files), "other.gguf, tiny.gguf");

  const std::vector<std::string> parts = split_gguf();
  files.files = {
      {"m-00001-of-00003.gguf", parts[0]}, {"m-00002-of-00003.gguf", parts[1]}, {"m-00003-of-00003.gguf", parts[2]}};
  const auto model = open_model(files.named(), "folder");
  ASSERT_EQ(problem(model), "");
  EXPECT_EQ(model->source.tensors.size(), 3u);
  EXPECT_EQ(std::to_integer<char>(model->source.find("t2")->data[0]), 'c');
  EXPECT_EQ(model->source.metadata.string("general.architecture"), "llama");
  files.files.push_back({"n-00001-of-00003.gguf", parts[0]});
  EXPECT_SAYS(problem(files), "several GGUF files");
}

TEST(OpenModel, tokenizer_files_go_before_a_gguf_when_no_weights_are_asked_for) {
  FolderFiles files;
  files.files = {{"tokenizer.json", "{}"}, {"tiny.gguf", tiny_gguf().build()}};
  EXPECT_EQ(open_model(files.named(), "f", OpenWhat::no_weights)->source.metadata.dialect, Dialect::huggingface);
  EXPECT_EQ(open_model(files.named(), "f")->source.metadata.dialect, Dialect::gguf);
}

TEST(SplitGguf, names_are_read_and_made) {
  const auto name = parse_gguf_part_name("dir/a-b-00002-of-00012.gguf");
  ASSERT_TRUE(name);
  EXPECT_EQ(name->prefix, "dir/a-b");
  EXPECT_EQ(name->number, 2u);
  EXPECT_EQ(name->count, 12u);
  EXPECT_EQ(gguf_part_name(name->prefix, 12, name->count), "dir/a-b-00012-of-00012.gguf");
  for (const char* other : {"a.gguf", "-0001-of-00002.gguf", "a-00001-of-00002.bin", "a-0000x-of-00002.gguf",
                            "a-00001_of-00002.gguf", "a00001-of-00002.gguf", ""})
    EXPECT_FALSE(parse_gguf_part_name(other)) << other;
}

TEST(SplitGguf, parts_are_joined_from_disk) {
  const std::vector<std::string> parts = split_gguf();
  TemporaryFolder folder;
  const std::string first = folder.write("m-00001-of-00003.gguf", parts[0]);
  EXPECT_SAYS(problem(open_gguf(first)), "m-00002-of-00003.gguf");
  const std::string second = folder.write("m-00002-of-00003.gguf", parts[1]);
  folder.write("m-00003-of-00003.gguf", parts[2]);
  const auto whole = open_gguf(first);
  ASSERT_EQ(problem(whole), "");
  EXPECT_EQ(whole->tensors.size(), 3u);
  EXPECT_EQ(whole->files.size(), 3u);
  EXPECT_EQ(std::to_integer<char>(whole->find("t1")->data[31]), 'b');
  EXPECT_SAYS(problem(open_gguf(second)), "part 2 of a split model");
  EXPECT_SAYS(problem(open_gguf(second)), "m-00001-of-00003.gguf");
  ASSERT_EQ(problem(open_model(folder.path())), "");
}

TEST(SplitGguf, sets_that_do_not_fit_together_are_refused) {
  const std::vector<std::string> parts = split_gguf();
  const auto with = [](std::vector<std::pair<std::string, std::string>> files) {
    FolderFiles folder;
    folder.files = std::move(files);
    return problem(folder);
  };
  const auto part = [](std::uint16_t number, std::uint16_t count, std::int32_t total, std::string name) {
    return GgufBuilder()
        .add("split.no", number)
        .add("split.count", count)
        .add("split.tensors.count", total)
        .tensor(std::move(name), 0, {1}, "abcd")
        .build();
  };
  const std::string one = "m-00001-of-00002.gguf", two = "m-00002-of-00002.gguf";
  EXPECT_EQ(with({{one, part(0, 2, 2, "a")}, {two, part(1, 2, 2, "b")}}), "");
  EXPECT_SAYS(with({{one, part(0, 2, 3, "a")}, {two, part(1, 2, 3, "b")}}), "do not hold all tensors");
  EXPECT_SAYS(with({{one, part(0, 2, 2, "a")}, {two, part(1, 2, 2, "a")}}), "in two parts");
  EXPECT_SAYS(with({{one, part(0, 2, 2, "a")}, {two, part(0, 2, 2, "b")}}), "another set");
  EXPECT_SAYS(with({{one, part(0, 2, 2, "a")}, {two, part(1, 3, 2, "b")}}), "another set");
  EXPECT_SAYS(with({{one, part(0, 2, 2, "a")}, {two, tiny_gguf().build()}}), "another set");
  EXPECT_SAYS(with({{one, part(0, 3, 2, "a")}, {two, part(1, 3, 2, "b")}}), "name of a split model");
  EXPECT_SAYS(with({{"renamed.gguf", part(0, 2, 2, "a")}}), "name of a split model");
  EXPECT_SAYS(with({{two, part(1, 2, 2, "b")}}), "part 2");
  EXPECT_SAYS(with({{"m.gguf", GgufBuilder().add("split.count", 3u).build()}}), "without split.no");
  EXPECT_SAYS(with({{"m.gguf", GgufBuilder().add("split.count", -3).build()}}), "impossible number of parts");
  EXPECT_SAYS(with({{"m.gguf", GgufBuilder().add("split.count", 100000u).build()}}), "impossible number of parts");
  EXPECT_EQ(with({{"m.gguf", GgufBuilder().add("split.count", 1u).build()}}), "");
}

TEST(SplitGguf, one_part_in_memory_is_not_a_model) {
  const std::string part = split_gguf()[0], whole = tiny_gguf().build();
  EXPECT_SAYS(problem(open_model(bytes_of(part), "bytes")), "one part of a split model");
  EXPECT_EQ(problem(open_model(bytes_of(whole), "bytes")), "");
}

TEST(OpenModel, paths_on_disk) {
  TemporaryFolder folder;
  folder.write(tiny_folder());
  const std::string stray =
      folder.write("single.safetensors", SafetensorsBuilder().tensor("only", "I8", {1}, "1").build());
  const auto whole = open_model(folder.path());
  ASSERT_EQ(problem(whole), "");
  EXPECT_EQ(whole->source.tensors.size(), 20u);
  EXPECT_FALSE(whole->tokenizer_json.empty());
  EXPECT_EQ(problem(open_model(folder.path() + "/")), "");
  const auto alone = open_model(stray);
  ASSERT_EQ(problem(alone), "");
  EXPECT_EQ(alone->source.tensors.size(), 1u) << "a file that the index does not list is a model of its own";
  EXPECT_EQ(alone->source.metadata.string("model_type"), "llama");
  const auto listed = open_model(folder.path() + "/model-00002-of-00002.safetensors");
  ASSERT_EQ(problem(listed), "");
  EXPECT_EQ(listed->source.tensors.size(), 20u) << "one that it lists stands for all";

  EXPECT_SAYS(problem(open_model(folder.path() + "/tokenizer.json")), "not a GGUF file");
  const auto tokenizer = open_model(folder.path() + "/tokenizer.json", OpenWhat::no_weights);
  ASSERT_EQ(problem(tokenizer), "");
  EXPECT_EQ(tokenizer->tokenizer_json, tiny_tokenizer_json());
  EXPECT_TRUE(tokenizer->tokenizer_config_json.empty()) << "that file alone decides";

  EXPECT_SAYS(problem(open_model(folder.path() + "/nothing.gguf")), "No such file");
  EXPECT_SAYS(problem(open_model("")), "empty");
  EXPECT_SAYS(problem(open_model(std::string_view("a\0b", 3))), "zero byte");
  EXPECT_SAYS(problem(open_gguf(folder.path())), "not a regular file");
}

TEST(OpenModel, a_pipe_is_refused_and_not_waited_for) {
  TemporaryFolder folder;
  const std::string path = folder.write("x", "");
  std::remove(path.c_str());
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  EXPECT_SAYS(problem(open_model(path)), "not a regular file");
}

#if defined(__cpp_exceptions)
/// Lets every allocation of `open` fail in turn; returns how many there were.
template <class Open>
long fail_each_allocation(Open&& open) {
  for (long n = 1;; ++n) {
    const std::size_t before = Allocations::live;
    Allocations::fail_in = n;
    bool opened = false;
    Errc code = Errc::out_of_memory;
    {
      const expected<ModelFiles> model = open();
      opened = model.has_value();
      if (!opened) code = model.error().code;
    }
    const bool failed = Allocations::fail_in.exchange(0) == 0;
    EXPECT_EQ(Allocations::live, before) << "leak after allocation " << n;
    if (!failed) {
      EXPECT_TRUE(opened);
      return n - 1;
    }
    EXPECT_FALSE(opened) << n;
    EXPECT_EQ(code, Errc::out_of_memory) << n;
  }
}

TEST(OpenModel, each_failing_allocation_is_an_error_value) {
  const FolderFiles files = tiny_folder();
  const std::vector<NamedBytes> named = files.named();
  EXPECT_GT(fail_each_allocation([&] { return open_model(named, "folder"); }), 100);
  const std::string gguf = tiny_gguf().build();
  EXPECT_GT(fail_each_allocation([&] { return open_model(bytes_of(gguf), "tiny.gguf"); }), 20);
  TemporaryFolder folder;
  folder.write(files);
  EXPECT_GT(fail_each_allocation([&] { return open_model(folder.path()); }), 100);
}
#endif

TEST(OpenModel, a_model_may_be_moved) {
  ModelFiles model;
  {
    FolderFiles files = tiny_folder();
    auto opened = open_model(files.named(), "folder");
    ASSERT_EQ(problem(opened), "");
    model = std::move(*opened);
  }
  MetaReader ids(*model.source.metadata.array("eos_token_id"));  // the metadata's own bytes, not the file's
  EXPECT_EQ(ids.number(), 2);
}

}  // namespace
}  // namespace tmodel::testing
