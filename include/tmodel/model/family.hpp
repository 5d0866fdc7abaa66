#pragma once
// A family as data, the reading of its configuration, and finding the family of a file.

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "tmodel/model/loader.hpp"

namespace tmodel::inline v0 {

/// What a Traits says, without its type: what needs no backend is compiled once for all families.
struct FamilyData {
  std::string_view name;
  std::string_view models;      ///< what is published under it
  std::string_view gguf_lacks;  ///< what a GGUF file of it cannot say; empty: nothing
  std::span<const std::string_view> model_types, gguf_architectures;
  std::span<const TensorName> tensor_names;
  std::span<const DecoderSpec> specs;
  expected<ModelConfig> (*parse)(const Metadata&, HasTensor) = nullptr;
  LayerPlan (*plan)(const ModelConfig&, int) = nullptr;

  /// Names of one kind of file.
  std::span<const std::string_view> names(Dialect dialect) const noexcept {
    return dialect == Dialect::gguf ? gguf_architectures : model_types;
  }
};

template <class F>
constexpr FamilyData family_data() noexcept {
  FamilyData data{F::name, {}, {}, F::model_types, F::gguf_architectures, {}, F::specs, &F::parse, &F::plan};
  if constexpr (requires { F::models; }) data.models = F::models;
  if constexpr (requires { F::gguf_lacks; }) data.gguf_lacks = F::gguf_lacks;
  if constexpr (requires { F::tensor_names; }) data.tensor_names = F::tensor_names;
  return data;
}

namespace detail {
/// "Qwen3MoeForCausalLM" and "qwen3_moe" are the same name; what remains of either.
inline std::string plain_name(std::string_view text) {
  std::string out;
  for (const std::string_view end : {"ForCausalLM", "ForConditionalGeneration"})
    if (text.ends_with(end)) text.remove_suffix(end.size());
  for (const char c : text)
    if (c != '_' && c != '-') out += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

/// Insertions, deletions and replacements between two names (Levenshtein 1966).
inline std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j < row.size(); ++j) row[j] = j;
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t corner = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j)
      corner = std::exchange(row[j + 1], std::min({row[j + 1] + 1, row[j] + 1, corner + (a[i] == b[j] ? 0 : 1)}));
  }
  return row.back();
}
}  // namespace detail

/// What a file calls its architecture: general.architecture; model_type, that of a language model inside, or the class.
inline std::vector<std::string> architectures_of(const Metadata& m) {
  std::vector<std::string> names;
  const auto add = [&](std::optional<std::string_view> name) {
    if (name && !name->empty()) names.emplace_back(*name);
  };
  if (m.dialect == Dialect::gguf) return add(m.string("general.architecture")), names;
  add(m.string("model_type"));
  add(m.string("text_config.model_type"));
  if (const MetaArray* classes = m.array("architectures"); names.empty() && classes != nullptr && classes->count > 0)
    add(MetaReader(*classes).string());
  return names;
}

inline bool opens(const FamilyData& family, const Metadata& m) {
  const auto known = family.names(m.dialect);
  const std::vector<std::string> found = architectures_of(m);
  return std::any_of(found.begin(), found.end(), [&](const std::string& name) {
    return std::any_of(known.begin(), known.end(), [&](std::string_view k) {
      return m.dialect == Dialect::gguf ? k == name : detail::plain_name(k) == detail::plain_name(name);
    });
  });
}

/// Largest head that the backends' per-head scratch holds.
inline constexpr int max_head_dim = 1024;

/// Reads and checks the configuration. Errors: wrong_family, bad_metadata, bad_tensor, unsupported.
inline expected<ModelConfig> read_model_config(const FamilyData& family, const TensorSource& source) {
  const Metadata& m = source.metadata;
  if (!opens(family, m)) {
    const std::vector<std::string> found = architectures_of(m);
    return fail(Errc::wrong_family, "model family", m.where, family.name,
                found.empty() ? "no architecture named" : found.front(), "open it with the type of its family");
  }
  if (const MetaArray* classes = m.array("architectures");
      classes != nullptr && classes->type == MetaType::string && classes->count > 0)
    if (const std::string_view name = MetaReader(*classes).string();
        detail::plain_name(name).size() == name.size() && name.find("LMHead") == name.npos)
      return fail(Errc::unsupported, "head of the model (architectures)", m.where, "a class that ends in ForCausalLM",
                  name);
  TMODEL_TRY(ModelConfig c, family.parse(m, [&](std::string_view tensor) { return source.find(tensor) != nullptr; }));
  if (c.heads % c.kv_heads != 0)
    return fail(Errc::bad_metadata, "key and value heads", m.where, "a divisor of " + std::to_string(c.heads),
                std::to_string(c.kv_heads));
  if (c.head_dim > max_head_dim)
    return fail(Errc::unsupported, "head dimension", m.where, "at most " + std::to_string(max_head_dim),
                std::to_string(c.head_dim));
  if (std::int64_t{c.heads} * c.head_dim > (1 << 24) || c.layers > max_layers || c.experts > max_experts ||
      std::int64_t{c.experts} * std::max(c.expert_ffn_dim, c.dim) > (1 << 30))
    return fail(Errc::bad_metadata, "sizes of the model", m.where, {}, "too large to be meant");
  if (c.experts_used > c.experts)
    return fail(Errc::bad_metadata, "experts used for a token", m.where, "at most " + std::to_string(c.experts),
                std::to_string(c.experts_used));
  if (c.variant < 0 || static_cast<std::size_t>(c.variant) >= family.specs.size())
    return fail(Errc::unsupported, "variant of the family", m.where);
  if (const char* what = excluded_by(family.specs[static_cast<std::size_t>(c.variant)], c))
    return fail(Errc::unsupported, what, m.where, "none in family " + std::string(family.name));

  int with_window = 0, without = 0;
  for (int i = 0; i < c.layers; ++i) {
    LayerPlan plan = family.plan(c, i);
    plan.cache = plan.window > 0 ? with_window++ : without++;
    if (plan.window > 0 && plan.window != c.window) return fail(Errc::unsupported, "windows of several sizes", m.where);
    c.plans.push_back(plan);
  }
  const TensorFinder finder(source, c, family.tensor_names);
  TMODEL_CHECK(complete_rope(finder, c));
  for (const RopeParams& rope : c.rope)
    for (const int length : {1, c.max_positions}) TMODEL_CHECK(rope_frequencies(rope, c.rotary_dim, length));
  const TensorInfo* k = finder.find(Role::k, 0) != nullptr ? finder.find(Role::k, 0) : finder.find(Role::qkv, 0);
  c.f32_weights = k != nullptr && k->format == F32::gguf_id;
  return c;
}

/// Finds the family that opens a file. Where several have its name, the first whose parse() accepts it. Errors:
/// wrong_family, which names the known ones; that of the first parse() if none accepts.
inline expected<std::size_t> find_family(std::span<const FamilyData> families, const TensorSource& source) {
  const Metadata& m = source.metadata;
  std::optional<Error> refused;
  std::optional<std::size_t> found;
  for (std::size_t i = 0; i < families.size() && !found; ++i) {
    if (!opens(families[i], m)) continue;
    auto config = families[i].parse(m, [&](std::string_view tensor) { return source.find(tensor) != nullptr; });
    if (config)
      found = i;
    else if (!refused)
      refused = std::move(config).error();
  }
  if (found) return *found;
  if (refused) return tl::unexpected<Error>(*std::move(refused));

  const std::vector<std::string> names = architectures_of(m);
  std::string known, nearest;
  std::size_t least = std::string::npos;
  for (const FamilyData& family : families)
    for (const std::string_view name : family.names(m.dialect)) {
      if (known.find(name) == known.npos) known += (known.empty() ? "" : ", ") + std::string(name);
      const std::size_t d =
          names.empty() ? 0 : detail::distance(detail::plain_name(name), detail::plain_name(names.front()));
      if (d < least) least = d, nearest = name;
    }
  return fail(
      Errc::wrong_family, "no family of this program opens the model", m.where, known,
      names.empty() ? "no architecture named" : names.front(),
      names.empty() ? "" : "the nearest is " + nearest + "; a family is a header, see the recipe in HACKING.md");
}

}  // namespace tmodel::inline v0
