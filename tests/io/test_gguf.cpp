// GGUF reader: what it takes, and one regression per class of bug that such readers have had.

#include "tmodel/io/gguf.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "io/file_builders.hpp"
#include "io/tiny_files.hpp"

namespace tmodel::testing {
namespace {

/// The error's one line, "" if the file was read. On success the source goes to `into`.
std::string problem(const std::string& file, TensorSource& into) {
  const auto read = read_gguf(bytes_of(file), "test.gguf", into);
  return read ? "" : read.error().message();
}
std::string problem(std::string&&, TensorSource&) = delete;  // the source points into the file
std::string problem(const std::string& file) {
  TensorSource source;
  return problem(file, source);
}

GgufBuilder small() {
  GgufBuilder file;
  file.add("general.architecture", "llama");
  return file;
}
/// A file with one F32 tensor of 2 rows and 32 columns.
GgufBuilder one_tensor() { return small().tensor("a.weight", 0, {2, 32}, std::string(256, '\1')); }

TEST(Gguf, reads_every_scalar_type) {
  GgufBuilder file;
  file.add("u8", std::uint8_t{200})
      .add("i8", std::int8_t{-100})
      .add("u16", std::uint16_t{60000})
      .add("i16", std::int16_t{-30000});
  file.add("u32", 4000000000u)
      .add("i32", -2000000000)
      .add("u64", ~std::uint64_t{0})
      .add("i64", std::numeric_limits<std::int64_t>::min());
  file.add("f32", 1.5f).add("f64", 0.1).add("yes", true).add("no", false).add("text", "caf\xC3\xA9").add("empty", "");
  TensorSource s;
  const std::string bytes = file.build();
  ASSERT_EQ(problem(bytes, s), "");
  const Metadata& m = s.metadata;
  EXPECT_EQ(m.dialect, Dialect::gguf);
  EXPECT_EQ(m.where, "test.gguf");
  EXPECT_EQ(m.integer("u8"), 200);
  EXPECT_EQ(m.integer("i8"), -100);
  EXPECT_EQ(m.integer("u16"), 60000);
  EXPECT_EQ(m.integer("i16"), -30000);
  EXPECT_EQ(m.integer("u32"), 4000000000);
  EXPECT_EQ(m.integer("i32"), -2000000000);
  EXPECT_EQ(m.integer("i64"), std::numeric_limits<std::int64_t>::min());
  ASSERT_NE(m.find("u64"), nullptr);
  ASSERT_NE(std::get_if<std::uint64_t>(m.find("u64")), nullptr);
  EXPECT_EQ(*std::get_if<std::uint64_t>(m.find("u64")), ~std::uint64_t{0});
  EXPECT_EQ(m.number("f32"), 1.5);
  EXPECT_EQ(m.number("f64"), 0.1);
  EXPECT_EQ(m.boolean("yes"), true);
  EXPECT_EQ(m.boolean("no"), false);
  EXPECT_EQ(m.string("text"), "caf\xC3\xA9");
  EXPECT_EQ(m.string("empty"), "");
  EXPECT_EQ(m.all().size(), 14u);
}

TEST(Gguf, reads_arrays_in_place) {
  GgufBuilder file;
  file.add_array("words", std::vector<std::string>{"a", "", "\xFF\xFE", "long one"});
  file.add_array("bytes", std::vector<std::uint8_t>{1, 2, 255});
  file.add_array("numbers", std::vector<std::int32_t>{-1, 0, 7});
  file.add_array("floats", std::vector<float>{0.5f, -2});
  file.add_array("none", std::vector<std::uint64_t>{});
  file.add("after", 5u);
  const std::string bytes = file.build();
  TensorSource s;
  ASSERT_EQ(problem(bytes, s), "");
  const MetaArray* words = s.metadata.array("words");
  ASSERT_NE(words, nullptr);
  EXPECT_EQ(words->count, 4u);
  const auto* begin = reinterpret_cast<const std::byte*>(bytes.data());
  EXPECT_TRUE(words->raw.data() > begin && words->raw.data() < begin + bytes.size()) << "copied";
  std::vector<std::string> read;
  for (MetaReader r(*words); !r.done();) read.emplace_back(r.string());
  EXPECT_EQ(read, (std::vector<std::string>{"a", "", "\xFF\xFE", "long one"}));
  std::vector<f64> numbers;
  for (MetaReader r(*s.metadata.array("numbers")); !r.done();) numbers.push_back(r.number());
  EXPECT_EQ(numbers, (std::vector<f64>{-1, 0, 7}));
  EXPECT_EQ(s.metadata.array("bytes")->raw.size(), 3u);
  EXPECT_EQ(s.metadata.array("floats")->type, MetaType::f32);
  EXPECT_EQ(s.metadata.array("none")->count, 0u);
  EXPECT_EQ(s.metadata.integer("after"), 5);
}

TEST(Gguf, shape_is_outermost_first_and_data_is_in_place) {
  GgufBuilder file = small();
  std::string numbers;
  for (int i = 0; i < 6; ++i) put(numbers, static_cast<float>(i));
  file.tensor("z", 0, {2, 3}, numbers)
      .tensor("a", 30, {4}, std::string(8, 'x'))
      .tensor("m", 8, {1, 2, 32}, std::string(68, 'q'));
  const std::string bytes = file.build();
  TensorSource s;
  ASSERT_EQ(problem(bytes, s), "");
  ASSERT_EQ(s.tensors.size(), 3u);
  EXPECT_EQ(s.tensors[0].name, "a") << "sorted";
  const TensorInfo* z = s.find("z");
  ASSERT_NE(z, nullptr);
  EXPECT_EQ(z->rank, 2);
  EXPECT_EQ(z->shape[0], 2u);
  EXPECT_EQ(z->shape[1], 3u);
  EXPECT_EQ(z->shape[2], 0u);
  EXPECT_EQ(z->format, 0u);
  ASSERT_EQ(z->data.size(), 24u);
  EXPECT_EQ(load_unaligned<float>(z->data.data() + 20), 5.0f);
  EXPECT_EQ(z->offset, static_cast<std::uint64_t>(z->data.data() - reinterpret_cast<const std::byte*>(bytes.data())));
  EXPECT_EQ(s.find("m")->data.size(), 68u);
  EXPECT_EQ(s.find("m")->shape[2], 32u);
}

TEST(Gguf, version_2_is_version_3) {
  GgufBuilder file = one_tensor();
  file.version = 2;
  EXPECT_EQ(problem(file.build()), "");
}

TEST(Gguf, other_versions_are_refused_by_name) {
  GgufBuilder file = one_tensor();
  for (const std::uint32_t version : {0u, 4u, 99u}) {
    file.version = version;
    EXPECT_SAYS(problem(file.build()), "GGUF version");
  }
  file.version = 1;
  EXPECT_SAYS(problem(file.build()), "GGUF version 1");
  file.version = 0x03000000;
  EXPECT_SAYS(problem(file.build()), "big-endian");
}

TEST(Gguf, any_aligned_order_and_padding_of_the_data_is_taken) {
  GgufBuilder file = small();
  file.tensor("first", 0, {8}, std::string(32, '1'))
      .tensor("second", 0, {8}, std::string(32, '2'))
      .tensor("last", 0, {8}, std::string(128, '3'));
  file.tensors[0].offset = 128;
  file.tensors[1].offset = 0;
  file.tensors[2].offset = 64;
  TensorSource s;
  const std::string bytes = file.build();
  ASSERT_EQ(problem(bytes, s), "");
  EXPECT_EQ(std::to_integer<char>(s.find("second")->data[0]), '1');
  EXPECT_EQ(std::to_integer<char>(s.find("last")->data[0]), '3');
}

TEST(Gguf, the_file_s_own_alignment_is_used_in_any_integer_type) {
  for (const std::uint64_t alignment : {8u, 16u, 64u, 4096u}) {
    GgufBuilder file = one_tensor().tensor("b.weight", 0, {3}, std::string(12, '\2'));
    file.alignment = alignment;
    GgufBuilder narrow = file, wide = file;
    narrow.add("general.alignment", static_cast<std::uint32_t>(alignment));
    wide.add("general.alignment", static_cast<std::int64_t>(alignment));
    EXPECT_EQ(problem(narrow.build()), "");
    EXPECT_EQ(problem(wide.build()), "");
  }
}

TEST(Gguf, vocabulary_only_and_empty_tensors_are_sound) {
  EXPECT_EQ(problem(small().build()), "");
  TensorSource s;
  const std::string with_empty = one_tensor().tensor("none", 0, {0, 32}, "").build();
  ASSERT_EQ(problem(with_empty, s), "");
  EXPECT_TRUE(s.find("none")->data.empty());
  const std::string with_scalar = small().tensor("scalar", 0, {}, std::string(4, '\0')).build();
  ASSERT_EQ(problem(with_scalar, s), "");
  EXPECT_EQ(s.find("scalar")->rank, 0);
  EXPECT_EQ(s.find("scalar")->data.size(), 4u);
}

TEST(Gguf, every_known_format_has_its_size) {
  const std::vector<std::pair<std::uint32_t, std::uint64_t>> bytes_per_256{
      {0, 1024}, {1, 512},  {2, 144},  {3, 160},  {6, 176},  {7, 192},  {8, 272},   {9, 288},   {10, 84},
      {11, 110}, {12, 144}, {13, 176}, {14, 210}, {15, 292}, {16, 66},  {17, 74},   {18, 98},   {19, 50},
      {20, 144}, {21, 110}, {22, 82},  {23, 136}, {24, 256}, {25, 512}, {26, 1024}, {27, 2048}, {28, 2048},
      {29, 56},  {30, 512}, {34, 54},  {35, 66},  {39, 136}, {40, 144}, {41, 36},   {42, 72}};
  for (const auto& [id, size] : bytes_per_256) {
    TensorSource s;
    const std::string bytes = small().tensor("t", id, {2, 256}, std::string(2 * size, 'x')).build();
    ASSERT_EQ(problem(bytes, s), "") << id;
    EXPECT_EQ(s.find("t")->data.size(), 2 * size) << id;
    EXPECT_NE(problem(small().tensor("t", id, {2, 256}, std::string(2 * size - 33, 'x')).build()), "") << id;
  }
}

TEST(Gguf, unknown_and_removed_formats_are_refused_with_their_number) {
  for (const std::uint32_t id : {4u, 5u, 31u, 32u, 33u, 36u, 37u, 38u, 43u, 77u, 137u, 0x10000u, 0x10001u, ~0u}) {
    const std::string said = problem(small().tensor("t", id, {256}, std::string(2048, 'x')).build());
    EXPECT_SAYS(said, "id " + std::to_string(id));
    EXPECT_SAYS(said, "tensor t");
  }
  EXPECT_SAYS(problem(small().tensor("t", 137, {256}, std::string(2048, 'x')).build()), "ik_llama.cpp");
}

TEST(Gguf, rows_must_fill_whole_blocks) {
  EXPECT_SAYS(problem(small().tensor("t", 2, {8, 40}, std::string(180, 'x')).build()), "multiple of 32");
  EXPECT_SAYS(problem(small().tensor("t", 12, {8, 32}, std::string(144, 'x')).build()), "multiple of 256");
}

// --- one per class of bug that readers have had ---

TEST(Gguf, dimension_products_that_wrap_are_refused) {
  for (const auto& dims :
       std::vector<std::vector<std::uint64_t>>{{(std::uint64_t{1} << 42) + 1, std::uint64_t{1} << 22},
                                               {~std::uint64_t{0}},
                                               {std::uint64_t{1} << 63},
                                               {std::uint64_t{1} << 32, std::uint64_t{1} << 32},
                                               {0, std::uint64_t{1} << 62, 4},
                                               {std::uint64_t{1} << 62}}) {
    GgufBuilder file = one_tensor();
    file.tensors[0].dims = dims;
    EXPECT_SAYS(problem(file.build()), "impossible");
  }
}

TEST(Gguf, more_than_4_dimensions_are_refused) {
  EXPECT_SAYS(problem(small().tensor("t", 0, {1, 1, 1, 1, 8}, std::string(32, 'x')).build()), "too many dimensions");
  GgufBuilder file = one_tensor();
  file.tensors[0].rank = ~0u;
  EXPECT_SAYS(problem(file.build()), "too many dimensions");
  EXPECT_EQ(problem(small().tensor("t", 0, {1, 1, 1, 8}, std::string(32, 'x')).build()), "");
}

TEST(Gguf, an_array_narrower_than_its_reader_is_not_read_past_its_end) {
  GgufBuilder file;
  file.add_array("scores", std::vector<std::uint8_t>{1, 2, 3});
  const std::string bytes = file.build();
  TensorSource s;
  ASSERT_EQ(problem(bytes, s), "");
  const MetaArray* scores = s.metadata.array("scores");
  EXPECT_EQ(scores->type, MetaType::u8);
  EXPECT_EQ(scores->raw.size(), 3u);
  EXPECT_EQ(MetaReader(*scores).string(), "") << "a number read as a string is empty";
  EXPECT_EQ(s.metadata.number("scores"), std::nullopt);
  EXPECT_EQ(s.metadata.string("scores"), std::nullopt);
}

TEST(Gguf, impossible_alignments_are_refused) {
  const auto with = [](auto value) {
    GgufBuilder file = one_tensor();
    file.add("general.alignment", value);
    return problem(file.build());
  };
  for (const std::uint32_t n : {0u, 3u, 24u, 0x80000000u, 0xFFFFFFFFu}) EXPECT_SAYS(with(n), "alignment");
  EXPECT_SAYS(with(std::int32_t{-32}), "alignment");
  EXPECT_SAYS(with(std::uint64_t{1} << 63), "alignment");
  EXPECT_SAYS(with(~std::uint64_t{0}), "alignment");
  EXPECT_SAYS(with("32"), "alignment");
  EXPECT_SAYS(with(true), "alignment");
  EXPECT_SAYS(with(1u << 20), "past the end");  // a power of two, but then the data would lie behind the file
}

TEST(Gguf, lengths_and_counts_beyond_the_file_are_refused) {
  for (const std::uint64_t n :
       {std::uint64_t{1000}, std::uint64_t{1} << 31, std::uint64_t{1} << 32, std::uint64_t{1} << 40,
        std::uint64_t{1} << 61, (std::uint64_t{1} << 61) + 1, std::uint64_t{1} << 63, ~std::uint64_t{0}}) {
    std::string count, text;
    put(text, n);
    EXPECT_NE(problem(GgufBuilder().add_raw("k", 8, text + "abc").build()), "") << "string of " << n;
    for (const std::uint32_t type : {0u, 4u, 6u, 8u, 10u, 12u}) {
      std::string array;
      put(array, type);
      put(array, n);
      EXPECT_NE(problem(GgufBuilder().add_raw("k", 9, array + "abcdefgh").build()), "") << "array of " << n;
    }
    GgufBuilder file = one_tensor();
    file.tensor_count = n;
    EXPECT_NE(problem(file.build()), "") << n << " tensors";
    file = one_tensor();
    file.key_count = n;
    EXPECT_NE(problem(file.build()), "") << n << " keys";
  }
}

TEST(Gguf, offsets_outside_the_file_or_not_aligned_are_refused) {
  for (const std::uint64_t offset :
       {std::uint64_t{32}, std::uint64_t{1} << 32, ~std::uint64_t{0} - 31, std::uint64_t{1} << 63}) {
    GgufBuilder file = one_tensor();
    file.tensors[0].offset = offset;
    EXPECT_SAYS(problem(file.build()), "past the end");
  }
  GgufBuilder file = one_tensor();
  file.tensors[0].offset = 4;
  EXPECT_SAYS(problem(file.build()), "not aligned");
}

TEST(Gguf, overlapping_tensors_are_refused) {
  GgufBuilder file = one_tensor().tensor("b", 0, {2, 32}, std::string(256, 'b'));
  file.tensors[1].offset = 0;
  EXPECT_SAYS(problem(file.build()), "overlaps");
  file.tensors[1].offset = 224;
  EXPECT_SAYS(problem(file.build()), "overlaps");
  file.tensors[1].offset = 256;
  EXPECT_EQ(problem(file.build()), "");
}

TEST(Gguf, names_that_stand_twice_are_refused) {
  EXPECT_SAYS(problem(small().add("general.architecture", "llama").build()), "key stands twice");
  EXPECT_SAYS(problem(one_tensor().tensor("a.weight", 0, {1}, std::string(4, 'x')).build()),
              "tensor name stands twice");
}

TEST(Gguf, wrong_values_are_refused) {
  EXPECT_SAYS(problem(GgufBuilder().add_raw("k", 13, "abcd").build()), "unknown value type");
  EXPECT_SAYS(problem(GgufBuilder().add_raw("k", ~0u, "abcd").build()), "unknown value type");
  EXPECT_SAYS(problem(GgufBuilder().add_raw("k", 7, "\2").build()), "truth value");
  std::string array;
  put(array, 7u);
  put(array, std::uint64_t{2});
  EXPECT_SAYS(problem(GgufBuilder().add_raw("k", 9, array + "\1\2").build()), "truth value");
  array.clear();
  put(array, 9u);
  put(array, std::uint64_t{0});
  EXPECT_SAYS(problem(GgufBuilder().add_raw("k", 9, array).build()), "array of arrays");
  array.clear();
  put(array, 13u);
  put(array, std::uint64_t{0});
  EXPECT_SAYS(problem(GgufBuilder().add_raw("k", 9, array).build()), "unknown element type");
  EXPECT_SAYS(problem(GgufBuilder().add("", 1u).build()), "no name");
  EXPECT_SAYS(problem(GgufBuilder().add(std::string(65536, 'k'), 1u).build()), "too long");
  EXPECT_EQ(problem(GgufBuilder().add(std::string(65535, 'k'), 1u).build()), "");
  EXPECT_SAYS(problem(small().tensor("", 0, {1}, "abcd").build()), "no name");
  EXPECT_SAYS(problem(small().tensor(std::string(1025, 'n'), 0, {1}, "abcd").build()), "too long");
}

TEST(Gguf, every_truncation_is_refused_and_leaves_the_target_alone) {
  GgufBuilder file = one_tensor();
  file.add_array("words", std::vector<std::string>{"one", "two"}).add_array("numbers", std::vector<float>{1, 2, 3});
  const std::string whole = file.build();
  TensorSource s;
  s.metadata.where = "before";
  for (std::size_t n = 0; n < whole.size(); ++n) {
    // A copy of its own, so that the address sanitizer sees a read past its end.
    const std::vector<std::byte> part(bytes_of(whole).begin(),
                                      bytes_of(whole).begin() + static_cast<std::ptrdiff_t>(n));
    EXPECT_FALSE(read_gguf(part, "part", s)) << n;
  }
  EXPECT_EQ(s.metadata.where, "before");
  EXPECT_TRUE(s.tensors.empty());
  EXPECT_EQ(problem(whole, s), "");
}

TEST(Gguf, a_layer_count_of_the_file_indexes_nothing_here) {
  GgufBuilder file = tiny_gguf();
  file.add("llama.leading_dense_block_count", 4000000000u);
  EXPECT_EQ(problem(file.build()), "") << "the container has no opinion of such keys; what uses them checks them";
}

TEST(Gguf, foreign_files_are_named) {
  const std::vector<std::pair<std::string, std::string>> foreign{
      {"", "empty file"},
      {"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 133\n", "git-lfs pointer"},
      {"<!DOCTYPE html><html></html>", "HTML"},
      {"\n\n  <HTML>", "HTML"},
      {"<?xml version='1.0'?><Error>", "HTML or XML"},
      {"lmgg" + std::string(60, '\0'), "before GGUF"},
      {"tjgg" + std::string(60, '\0'), "before GGUF"},
      {"algg" + std::string(60, '\0'), "before GGUF"},
      {std::string("PK\x03\x04") + std::string(60, '\0'), "zip archive"},
      {std::string("\x80\x02") + "}q", "pickle"},
      {std::string("\x1f\x8b\x08"), "gzip"},
      {safetensors_file(R"({"a":{}})"), "safetensors"},
      {R"({"error":"not found"})", "JSON"},
      {"Entry not found", "Entry no"},
      {"GGU", "GGU"},
  };
  for (const auto& [file, kind] : foreign) {
    const std::string said = problem(file);
    EXPECT_SAYS(said, kind);
    EXPECT_SAYS(said, "not a GGUF file");
  }
}

TEST(Gguf, error_text_is_valid_utf8_whatever_the_file_says) {
  GgufBuilder file = small();
  file.tensor("bad\xFF\n\x80name", 77, {32}, std::string(128, 'x'));
  const std::string said = problem(file.build());
  for (std::string_view left = said; !left.empty();) {
    const std::size_t n = detail::utf8_length(left);
    ASSERT_NE(n, 0u) << said;
    left.remove_prefix(n);
  }
  EXPECT_EQ(said.find('\n'), std::string::npos);
}

TEST(Gguf, the_tiny_model_is_whole) {
  TensorSource s;
  const std::string bytes = tiny_gguf().build();
  ASSERT_EQ(problem(bytes, s), "");
  EXPECT_EQ(s.tensors.size(), 20u);
  EXPECT_EQ(s.metadata.array("tokenizer.ggml.tokens")->count, TinySizes().vocab);
  EXPECT_EQ(s.find("token_embd.weight")->shape[0], TinySizes().vocab);
}

}  // namespace
}  // namespace tmodel::testing
