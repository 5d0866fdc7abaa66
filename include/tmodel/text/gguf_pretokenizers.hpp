#pragma once
// Pre-tokenisers of byte-level BPE by the name that GGUF files give them (tokenizer.ggml.pre).
// Expressions as the models' own tokenizer.json has them, applied one after the other; facts from llama.cpp's loader.

#include <array>
#include <string_view>

#include "tmodel/core/types.hpp"

namespace tmodel::inline v0::tokenization {

struct GgufPreTokenizer {
  std::array<std::string_view, 2> names;        ///< a second one may be empty
  std::array<std::string_view, 6> expressions;  ///< Oniguruma's syntax; used up to the first empty one
  bool ignore_merges = false;
  bool add_bos = false;  ///< if the file does not say
  bool nfc = false;      ///< the models' own tokenizer normalises first; llama.cpp does not
};

namespace detail {
inline constexpr std::string_view re_gpt2 =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
inline constexpr std::string_view re_llama3 =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
inline constexpr std::string_view re_qwen2 =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
inline constexpr std::string_view re_digit = "\\p{N}";
inline constexpr std::string_view re_bloom =
    " ?[^(\\s|.,!?\\x{2026}\\x{3002}\\x{ff0c}\\x{3001}\\x{964}\\x{6d4}\\x{60c})]+";
inline constexpr std::string_view re_tekken =
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|"
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|"
    "\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
inline constexpr std::string_view re_deepseek_letters =
    "\\s?[A-Za-z\\x{b5}\\x{c0}-\\x{d6}\\x{d8}-\\x{f6}\\x{f8}-\\x{1ba}\\x{1bc}-\\x{1bf}\\x{1c4}-\\x{293}\\x{295}-"
    "\\x{2af}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37b}-\\x{37d}\\x{37f}\\x{386}\\x{388}-\\x{38a}\\x{38c}\\x{38e}-"
    "\\x{3a1}\\x{3a3}-\\x{3f5}\\x{3f7}-\\x{481}\\x{48a}-\\x{52f}\\x{531}-\\x{556}\\x{10a0}-\\x{10c5}\\x{13a0}-"
    "\\x{13f5}\\x{13f8}-\\x{13fd}\\x{1c90}-\\x{1cba}\\x{1cbd}-\\x{1cbf}\\x{1d00}-\\x{1d2b}\\x{1d6b}-\\x{1d77}"
    "\\x{1d79}-\\x{1d9a}\\x{1e00}-\\x{1f15}\\x{1f18}-\\x{1f1d}\\x{1f20}-\\x{1f45}\\x{1f48}-\\x{1f4d}\\x{1f50}-"
    "\\x{1f57}\\x{1f59}\\x{1f5b}\\x{1f5d}\\x{1f5f}-\\x{1f7d}\\x{1f80}-\\x{1fb4}\\x{1fb6}-\\x{1fbc}\\x{1fbe}\\x{1fc2}-"
    "\\x{1fc4}\\x{1fc6}-\\x{1fcc}\\x{1fd0}-\\x{1fd3}\\x{1fd6}-\\x{1fdb}\\x{1fe0}-\\x{1fec}\\x{1ff2}-\\x{1ff4}"
    "\\x{1ff6}-\\x{1ffc}\\x{2102}\\x{2107}\\x{210a}-\\x{2113}\\x{2115}\\x{2119}-\\x{211d}\\x{2124}\\x{2126}\\x{2128}"
    "\\x{212a}-\\x{212d}\\x{212f}-\\x{2134}\\x{2139}\\x{213c}-\\x{213f}\\x{2145}-\\x{2149}\\x{214e}\\x{2183}\\x{2184}"
    "\\x{2c00}-\\x{2c7b}\\x{2c7e}-\\x{2ce4}\\x{2ceb}-\\x{2cee}\\x{2cf2}\\x{2cf3}\\x{a640}-\\x{a66d}\\x{a680}-"
    "\\x{a69b}\\x{a722}-\\x{a76f}\\x{a771}-\\x{a787}\\x{a78b}-\\x{a78e}\\x{ab70}-\\x{abbf}\\x{fb00}-\\x{fb06}"
    "\\x{fb13}-\\x{fb17}\\x{ff21}-\\x{ff3a}\\x{ff41}-\\x{ff5a}\\x{10400}-\\x{1044f}\\x{104b0}-\\x{104d3}\\x{104d8}-"
    "\\x{104fb}\\x{10c80}-\\x{10cb2}\\x{10cc0}-\\x{10cf2}\\x{118a0}-\\x{118df}\\x{1e900}-\\x{1e943}]+";
inline constexpr std::string_view re_deepseek_han = "[\\x{4e00}-\\x{9fa5}\\x{800}-\\x{4e00}\\x{ac00}-\\x{d7ff}]+";
inline constexpr std::string_view re_deepseek_symbols =
    "\\s?[!-/:-~\\x{ff01}-\\x{ff0f}\\x{ff1a}-\\x{ff5e}\\x{2018}-\\x{201f}\\x{3000}-\\x{3002}]+";
inline constexpr std::string_view re_deepseek_v3_east = "[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}]+";
inline constexpr std::string_view re_deepseek_v3 =
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S"
    "}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
}  // namespace detail

/// Left out by name: chameleon and the jina kinds (no decoder-only language models of the supported families).
inline constexpr GgufPreTokenizer gguf_pretokenizers[] = {
    {{"llama-bpe", "llama3"}, {detail::re_llama3}, true, true},
    {{"llama-v3", "falcon3"}, {detail::re_llama3}, true, true},
    {{"dbrx", "smaug-bpe"}, {detail::re_llama3}},
    {{"chatglm-bpe", ""}, {detail::re_llama3}},
    {{"qwen2", ""}, {detail::re_qwen2}, false, false, true},
    {{"stablelm2", ""}, {detail::re_qwen2}},
    {{"deepseek-r1-qwen", "megrez"}, {detail::re_qwen2}},
    {{"gpt-2", "phi-2"}, {detail::re_gpt2}},
    {{"olmo", "mpt"}, {detail::re_gpt2}},
    {{"jais", "gigachat"}, {detail::re_gpt2}},
    {{"roberta-bpe", ""}, {detail::re_gpt2}},
    {{"smollm", "starcoder"}, {detail::re_digit, detail::re_gpt2}},
    {{"refact", "command-r"}, {detail::re_digit, detail::re_gpt2}},
    {{"codeshell", "exaone"}, {detail::re_digit, detail::re_gpt2}},
    {{"minerva-7b", ""}, {detail::re_digit, detail::re_gpt2}},
    {{"falcon", ""}, {"[\\p{P}\\$\\+<=>\\^~\\|`]+", detail::re_gpt2, "[0-9][0-9][0-9]"}},
    {{"tekken", ""}, {detail::re_tekken}, true, true},
    {{"deepseek-llm", ""},
     {"[\\r\\n]", detail::re_deepseek_letters, detail::re_deepseek_symbols, "\\s+$", detail::re_deepseek_han,
      "\\p{N}+"}},
    {{"deepseek-coder", ""}, {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", detail::re_deepseek_han, detail::re_digit}},
    {{"deepseek-v3", ""}, {"\\p{N}{1,3}", detail::re_deepseek_v3_east, detail::re_deepseek_v3}},
    {{"bloom", "gpt3-finnish"}, {detail::re_bloom}},
    {{"poro-chat", ""}, {detail::re_bloom}},
    {{"viking", ""}, {detail::re_bloom, detail::re_digit}},
    {{"default", ""}, {"[\\p{P}\\$\\+<=>\\^~\\|]+", detail::re_gpt2, "\\p{N}+", "[0-9][0-9][0-9]"}},
};

/// nullptr: the name is not known.
constexpr const GgufPreTokenizer* find_gguf_pretokenizer(std::string_view name) noexcept {
  for (const GgufPreTokenizer& entry : gguf_pretokenizers)
    if (!name.empty() && (entry.names[0] == name || entry.names[1] == name)) return &entry;
  return nullptr;
}

}  // namespace tmodel::inline v0::tokenization
