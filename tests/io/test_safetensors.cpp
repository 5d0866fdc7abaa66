// safetensors reader: the rules of the format, one by one.

#include "tmodel/io/safetensors.hpp"

#include <gtest/gtest.h>

#include "io/file_builders.hpp"

namespace tmodel::testing {
namespace {

std::string refusal(const std::string& file, TensorSource& into) {
  const auto read = read_safetensors(bytes_of(file), "test.safetensors", into);
  return read ? "" : read.error().message();
}
std::string refusal(std::string&&, TensorSource&) = delete;  // the source points into the file
std::string refusal(const std::string& file) {
  TensorSource source;
  return refusal(file, source);
}
/// The header's text and so many bytes of data.
std::string refusal(std::string_view header, std::size_t data) {
  return refusal(safetensors_file(header, std::string(data, 'x')));
}

TEST(Safetensors, reads_names_shapes_and_data_in_place) {
  const std::string file = SafetensorsBuilder()
                               .tensor("z.weight", "F32", {2, 3}, packed<float>({0, 1, 2, 3, 4, 5}))
                               .tensor("a", "BF16", {4}, "abcdefgh")
                               .tensor("scalar", "F16", {}, "hh")
                               .tensor("none", "I64", {0, 7}, "")
                               .tensor("conv", "I8", {1, 1, 2, 1, 2}, "1234")
                               .build();
  TensorSource s;
  ASSERT_EQ(refusal(file, s), "");
  ASSERT_EQ(s.tensors.size(), 5u);
  EXPECT_EQ(s.tensors[0].name, "a") << "sorted";
  const TensorInfo* z = s.find("z.weight");
  ASSERT_NE(z, nullptr);
  EXPECT_EQ(z->rank, 2);
  EXPECT_EQ(z->shape[0], 2u);
  EXPECT_EQ(z->shape[1], 3u);
  EXPECT_EQ(z->format, 0u);
  EXPECT_EQ(load_unaligned<float>(z->data.data() + 20), 5.0f);
  EXPECT_EQ(z->offset, static_cast<std::uint64_t>(z->data.data() - bytes_of(file).data()));
  EXPECT_EQ(s.find("scalar")->rank, 0);
  EXPECT_EQ(s.find("scalar")->data.size(), 2u);
  EXPECT_TRUE(s.find("none")->data.empty());
  EXPECT_EQ(s.find("conv")->rank, 5);
  EXPECT_EQ(s.find("conv")->shape[4], 2u);
}

TEST(Safetensors, dtypes_have_gguf_s_numbers_or_their_own) {
  const std::vector<std::tuple<std::string, format_id, std::size_t>> dtypes{
      {"F32", 0, 16}, {"F16", 1, 8},  {"BF16", 30, 8}, {"F64", 28, 32},
      {"I8", 24, 4},  {"I16", 25, 8}, {"I32", 26, 16}, {"I64", 27, 32}};
  for (const auto& [name, id, size] : dtypes) {
    const std::string file = SafetensorsBuilder().tensor("t", name, {4}, std::string(size, 'x')).build();
    TensorSource s;
    ASSERT_EQ(refusal(file, s), "") << name;
    EXPECT_EQ(s.find("t")->format, id) << name;
  }
  const std::vector<std::pair<std::string, std::size_t>> others{
      {"BOOL", 4},    {"U8", 4},      {"U16", 8},     {"U32", 16},        {"U64", 32},
      {"F8_E5M2", 4}, {"F8_E4M3", 4}, {"F8_E8M0", 4}, {"F8_E4M3FNUZ", 4}, {"F8_E5M2FNUZ", 4},
      {"F4", 2},      {"F6_E2M3", 3}, {"F6_E3M2", 3}, {"C64", 32}};
  for (const auto& [name, size] : others) {
    const std::string file = SafetensorsBuilder().tensor("t", name, {4}, std::string(size, 'x')).build();
    TensorSource s;
    ASSERT_EQ(refusal(file, s), "") << name;
    EXPECT_GE(s.find("t")->format, first_private_format) << name;
    EXPECT_EQ(stored_format_name(s.find("t")->format), name);
  }
  EXPECT_SAYS(refusal(SafetensorsBuilder().tensor("t", "Q8_0", {32}, std::string(34, 'x')).build()), "unknown dtype");
  EXPECT_SAYS(refusal(SafetensorsBuilder().tensor("t", "f32", {1}, "abcd").build()), "unknown dtype");
  EXPECT_NE(refusal(SafetensorsBuilder().tensor("t", "F4", {3}, "ab").build()), "") << "half a byte";
}

TEST(Safetensors, header_order_and_data_order_may_differ) {
  const std::string file = safetensors_file(
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"I8","shape":[2],"data_offsets":[1,3]},"a":{"shape":[1],"data_offsets":[0,1],"dtype":"I8"}}  )",
      "123");
  TensorSource s;
  ASSERT_EQ(refusal(file, s), "");
  EXPECT_EQ(std::to_integer<char>(s.find("a")->data[0]), '1');
  EXPECT_EQ(std::to_integer<char>(s.find("b")->data[0]), '2');
  EXPECT_EQ(s.tensors.size(), 2u) << "__metadata__ is no tensor";
}

TEST(Safetensors, a_second_file_is_added_and_its_names_must_be_new) {
  const std::string one = SafetensorsBuilder().tensor("m", "I8", {1}, "1").build();
  const std::string two = SafetensorsBuilder().tensor("z", "I8", {1}, "2").tensor("a", "I8", {1}, "3").build();
  TensorSource s;
  ASSERT_EQ(refusal(one, s), "");
  ASSERT_EQ(refusal(two, s), "");
  ASSERT_EQ(s.tensors.size(), 3u);
  EXPECT_NE(s.find("a"), nullptr);
  EXPECT_NE(s.find("m"), nullptr);
  EXPECT_SAYS(refusal(one, s), "another file");
  EXPECT_EQ(s.tensors.size(), 3u) << "unchanged after an error";
}

TEST(Safetensors, data_must_be_tiled_without_hole_or_overlap) {
  constexpr std::string_view hole =
      R"({"a":{"dtype":"I8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"I8","shape":[1],"data_offsets":[2,3]}})";
  EXPECT_SAYS(refusal(hole, 3), "hole");
  constexpr std::string_view overlap =
      R"({"a":{"dtype":"I8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"I8","shape":[2],"data_offsets":[1,3]}})";
  EXPECT_SAYS(refusal(overlap, 3), "overlap");
  constexpr std::string_view one = R"({"a":{"dtype":"I8","shape":[1],"data_offsets":[0,1]}})";
  EXPECT_EQ(refusal(one, 1), "");
  EXPECT_SAYS(refusal(one, 2), "after the last tensor");
  EXPECT_SAYS(refusal(one, 0), "past the end");
  EXPECT_SAYS(refusal(R"({"a":{"dtype":"I8","shape":[1],"data_offsets":[1,2]}})", 2), "hole");
  EXPECT_SAYS(refusal("{}", 1), "after the last tensor");
  EXPECT_EQ(refusal("{}", 0), "");
}

TEST(Safetensors, impossible_entries_are_refused) {
  const auto entry = [](std::string_view dtype, std::string_view shape, std::string_view offsets) {
    return refusal("{\"t\":{\"dtype\":" + std::string(dtype) + ",\"shape\":" + std::string(shape) +
                       ",\"data_offsets\":" + std::string(offsets) + "}}",
                   4);
  };
  EXPECT_EQ(entry("\"F32\"", "[1]", "[0,4]"), "");
  EXPECT_NE(entry("1", "[1]", "[0,4]"), "");
  EXPECT_NE(entry("null", "[1]", "[0,4]"), "");
  EXPECT_NE(entry("\"F32\"", "1", "[0,4]"), "");
  for (const char* shape :
       {"[-1]", "[1.0]", "[\"1\"]", "[null]", "[[1]]", "[18446744073709551615]", "[18446744073709551616]",
        "[4294967296,4294967296]", "[9223372036854775807,2]", "[4611686018427387904]", "[2]", "[1,1,1,1,1,1,1,1,1]"})
    EXPECT_NE(entry("\"F32\"", shape, "[0,4]"), "") << shape;
  for (const char* offsets :
       {"[4,0]", "[0]", "[0,4,4]", "[]", "[0,5]", "[-4,0]", "[0,18446744073709551615]", "[0,4.0]", "{\"0\":4}", "null"})
    EXPECT_NE(entry("\"F32\"", "[1]", offsets), "") << offsets;
  EXPECT_NE(refusal(R"({"t":[]})", 0), "");
  EXPECT_NE(refusal(R"({"t":{}})", 0), "");
  EXPECT_NE(refusal(R"({"t":{"dtype":"I8","shape":[0]}})", 0), "");
}

TEST(Safetensors, metadata_maps_strings_to_strings) {
  EXPECT_EQ(refusal(R"({"__metadata__":{}})", 0), "");
  EXPECT_SAYS(refusal(R"({"__metadata__":{"n":1}})", 0), "__metadata__");
  EXPECT_SAYS(refusal(R"({"__metadata__":["n"]})", 0), "__metadata__");
}

TEST(Safetensors, keys_that_stand_twice_are_refused) {
  constexpr std::string_view one = R"("a":{"dtype":"I8","shape":[0],"data_offsets":[0,0]})";
  EXPECT_SAYS(refusal("{" + std::string(one) + "," + std::string(one) + "}", 0), "twice");
  EXPECT_SAYS(refusal(R"({"a":{"dtype":"I8","dtype":"I8","shape":[0],"data_offsets":[0,0]}})", 0), "twice");
  EXPECT_SAYS(
      refusal(
          R"({"a":{"dtype":"I8","shape":[0],"data_offsets":[0,0]},"\u0061":{"dtype":"I8","shape":[0],"data_offsets":[0,0]}})",
          0),
      "twice");
}

TEST(Safetensors, the_header_is_bounded_and_begins_with_a_brace) {
  EXPECT_SAYS(refusal(" {}", 0), "does not begin with {");
  EXPECT_SAYS(refusal("[]", 0), "does not begin with {");
  EXPECT_SAYS(refusal("", 0), "does not begin with {");
  EXPECT_SAYS(refusal("\xEF\xBB\xBF{}", 0), "does not begin with {");
  EXPECT_EQ(refusal("{} \r\n\t", 0), "");
  EXPECT_NE(refusal("{}x", 0), "");
  EXPECT_SAYS(refusal(std::string_view("{}\0x", 4), 0), "zero byte") << "nothing may hide behind a zero";
  EXPECT_NE(refusal("{", 0), "");
  EXPECT_NE(refusal("{\"\xFF\":1}", 0), "") << "not UTF-8";
  for (const std::uint64_t length : {std::uint64_t{3}, std::uint64_t{100'000'001}, std::uint64_t{1} << 40,
                                     ~std::uint64_t{0}, ~std::uint64_t{0} - 7}) {
    std::string file;
    put(file, length);
    EXPECT_SAYS(refusal(file + "{}"), "longer than the file") << length;
  }
  std::string deep = R"({"a":)";
  for (int i = 0; i < 100'000; ++i) deep += "[";
  EXPECT_SAYS(refusal(deep, 0), "nested deeper");
}

TEST(Safetensors, a_header_beyond_the_cap_is_refused_unread) {
  std::string file;
  put(file, file_limits::safetensors_header_bytes + 1);
  file += '{';
  file.resize(8 + file_limits::safetensors_header_bytes + 1, ' ');
  EXPECT_SAYS(refusal(file), "too long");
}

TEST(Safetensors, every_truncation_is_refused_and_leaves_the_target_alone) {
  const std::string whole =
      SafetensorsBuilder().tensor("a", "I16", {2}, "1234").tensor("b", "F32", {1, 2}, "12345678").build();
  TensorSource s;
  for (std::size_t n = 0; n < whole.size(); ++n) {
    const std::vector<std::byte> part(bytes_of(whole).begin(),
                                      bytes_of(whole).begin() + static_cast<std::ptrdiff_t>(n));
    EXPECT_FALSE(read_safetensors(part, "part", s)) << n;
  }
  EXPECT_TRUE(s.tensors.empty());
}

TEST(Safetensors, foreign_files_are_named) {
  EXPECT_SAYS(refusal(""), "empty file");
  EXPECT_SAYS(refusal("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 133\n"), "git-lfs pointer");
  EXPECT_SAYS(refusal("<!DOCTYPE html><html></html>"), "HTML");
  EXPECT_SAYS(refusal(std::string("PK\x03\x04") + std::string(60, '\0')), "zip archive");
  EXPECT_SAYS(refusal("GGUF" + std::string(60, '\0')), "a GGUF file");
}

TEST(Safetensors, a_header_length_that_looks_like_another_format_is_sound) {
  for (const std::uint64_t length :
       {std::uint64_t{0x0280}, std::uint64_t{0x0580}, std::uint64_t{0x8B1F}}) {  // pickle, gzip
    std::string header = "{}";
    header.resize(static_cast<std::size_t>(length), ' ');
    EXPECT_EQ(refusal(header, 0), "");
  }
}

}  // namespace
}  // namespace tmodel::testing
