#pragma once
// What a user calls a model, opened: a GGUF file (split or not), a safetensors folder as Hugging Face lays it out, or a
// folder with a GGUF file in it. Decides which files belong to the model; never by globbing *.safetensors.

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tmodel/io/config_json.hpp"
#include "tmodel/io/gguf_split.hpp"
#include "tmodel/io/model_folder.hpp"
#include "tmodel/io/safetensors.hpp"

namespace tmodel::inline v0 {

/// A model's files, opened and checked as containers. The texts are views into mappings that `source` owns (or into the
/// caller's memory); one that is empty is not there. A GGUF model has none: all it knows is in `source.metadata`.
struct ModelFiles {
  TensorSource source;
  std::string_view tokenizer_json;
  std::string_view tokenizer_config_json;
  std::string_view generation_config_json;
  std::string_view special_tokens_map_json;
  std::string_view chat_template_jinja;
  std::string_view chat_template_json;
  std::string_view tokenizer_model;  ///< SentencePiece's, binary
};

/// What of a model is needed.
enum class OpenWhat : std::uint8_t {
  everything,
  no_weights,  ///< tokenizer, template and what metadata there is: a folder without weights or config.json will do
};

namespace detail {

/// Files beside the weights, and where their text goes.
struct TextFile {
  std::string_view name;
  std::string_view ModelFiles::*text;
};
inline constexpr std::array text_files{
    TextFile{"tokenizer.json", &ModelFiles::tokenizer_json},
    TextFile{"tokenizer_config.json", &ModelFiles::tokenizer_config_json},
    TextFile{"generation_config.json", &ModelFiles::generation_config_json},
    TextFile{"special_tokens_map.json", &ModelFiles::special_tokens_map_json},
    TextFile{"chat_template.jinja", &ModelFiles::chat_template_jinja},
    TextFile{"chat_template.json", &ModelFiles::chat_template_json},
    TextFile{"tokenizer.model", &ModelFiles::tokenizer_model},
};

inline constexpr std::string_view index_name = "model.safetensors.index.json";
inline constexpr std::string_view single_name = "model.safetensors";

/// Reads the files of one folder into a ModelFiles. Folder: DiskFolder or MemoryFolder.
template <class Folder>
class ModelReader {
 public:
  ModelReader(Folder& folder, std::string_view where, ModelFiles& model) noexcept
      : folder_(folder), where_(where), model_(model) {}

  /// The whole folder.
  expected<void> read_folder(OpenWhat what) {
    const bool safetensors = folder_.has(index_name) || folder_.has(single_name);
    if (what == OpenWhat::no_weights) {
      for (const TextFile& file : text_files)
        if (file.name != "generation_config.json" && folder_.has(file.name)) return read_texts();
    } else if (safetensors) {
      TMODEL_CHECK(read_texts());
      return folder_.has(index_name) ? read_indexed() : read_shard(std::string(single_name));
    }
    TMODEL_TRY(const std::vector<std::string> names, folder_.names_ending_in(".gguf"));
    if (names.empty()) return no_model(what);
    if (names.size() == 1) return read_gguf_model(names[0]);
    for (const std::string& name : names) {
      const auto part = parse_gguf_part_name(name), first = parse_gguf_part_name(names[0]);
      if (!part || !first || part->prefix != first->prefix || part->count != first->count) return several(names);
    }
    return read_gguf_model(names[0]);  // sorted: part 1, or the error says that it is missing
  }

  /// A GGUF file of the folder, with its other parts.
  expected<void> read_gguf_model(std::string_view name) {
    TMODEL_TRY(const auto bytes, folder_.read(name));
    TMODEL_CHECK(tmodel::read_gguf(bytes, folder_.path_of(name), model_.source));
    TMODEL_TRY(const std::uint32_t count, gguf_part_count(model_.source));
    if (count > 1) TMODEL_CHECK(join_gguf_parts(folder_, name, count, model_.source));
    return {};
  }

  /// A safetensors file that the caller named. Where the index lists it, the index decides; else it is the whole model.
  expected<void> read_named_safetensors(std::string_view name, OpenWhat what) {
    if (what == OpenWhat::no_weights) return read_folder(what);
    TMODEL_CHECK(read_texts());
    if (folder_.has(index_name)) {
      TMODEL_CHECK(read_index());
      if (std::binary_search(shards_.begin(), shards_.end(), name)) return read_shards();
    }
    return read_shard(std::string(name));
  }

  /// A bare tokenizer.json or tokenizer.model.
  expected<void> read_tokenizer_only(std::string_view name, std::string_view ModelFiles::*text) {
    model_.source.metadata.dialect = Dialect::huggingface;
    model_.source.metadata.where = folder_.path_of(name);
    return read_text(name, text);
  }

 private:
  struct Place {  // one line of the index
    std::string_view tensor, file;
  };

  expected<void> read_text(std::string_view name, std::string_view ModelFiles::*text) {
    TMODEL_TRY(const auto bytes, folder_.read(name));
    if (is_lfs_pointer(as_text(bytes)))
      return fail_foreign(bytes, folder_.path_of(name), "the file that its name says");
    model_.*text = as_text(bytes);
    return {};
  }

  /// All text files and the metadata. config.json may be missing here; with weights, require_config() asks for it.
  expected<void> read_texts() {
    Metadata& metadata = model_.source.metadata;
    metadata.dialect = Dialect::huggingface;
    metadata.where = folder_.path_of("config.json");
    for (const TextFile& file : text_files)
      if (folder_.has(file.name)) TMODEL_CHECK(read_text(file.name, file.text));
    if (folder_.has("config.json")) {
      TMODEL_TRY(const auto bytes, folder_.read("config.json"));
      TMODEL_CHECK(read_config(bytes, metadata.where, "", metadata));
    }
    if (folder_.has("generation_config.json"))
      TMODEL_CHECK(read_config(std::as_bytes(std::span(model_.generation_config_json)),
                               folder_.path_of("generation_config.json"), "generation_config.", metadata));
    return {};
  }

  expected<void> require_config() const {
    if (folder_.has("config.json")) return {};
    return fail(Errc::bad_file, "weights without a config.json beside them", folder_.path_of("config.json"), {}, {},
                "download the other files of the model into the same folder");
  }

  expected<void> read_shard(const std::string& name) {
    TMODEL_CHECK(require_config());
    TMODEL_TRY(const auto bytes, folder_.read(name));
    return read_safetensors(bytes, folder_.path_of(name), model_.source);
  }

  expected<void> read_indexed() {
    TMODEL_CHECK(read_index());
    return read_shards();
  }

  /// Fills places_ (by tensor) and shards_ (each file once), both sorted.
  expected<void> read_index() {
    const std::string path = folder_.path_of(index_name);
    TMODEL_TRY(const auto bytes, folder_.read(index_name));
    if (bytes.size() > file_limits::index_bytes)
      return fail(Errc::bad_file, "the index is too long", path,
                  "at most " + std::to_string(file_limits::index_bytes) + " bytes", std::to_string(bytes.size()));
    if (recognize_foreign(bytes)) return fail_foreign(bytes, path, "a JSON file");
    TMODEL_TRY(index_, JsonDocument::parse(as_text(bytes), path));
    const Json map = index_.root()["weight_map"];
    if (!map.is_object() || map.size() == 0) return fail(Errc::bad_file, "the index has no weight_map", path);
    if (map.size() > file_limits::tensors)
      return fail(Errc::bad_file, "too many tensors", path, "at most " + std::to_string(file_limits::tensors),
                  std::to_string(map.size()));
    for (Json item = map.first(); item; item = item.next()) {
      const std::string_view file = item.string();
      if (!sound_shard_name(file))
        return fail(Errc::bad_file, "the index names a file that cannot be a part", path,
                    "a name that ends in .safetensors, without a path",
                    item.is_string() ? std::string(file) : "not a string");
      places_.push_back({item.key(), file});
      shards_.push_back(file);
    }
    std::sort(places_.begin(), places_.end(), [](const Place& a, const Place& b) { return a.tensor < b.tensor; });
    std::sort(shards_.begin(), shards_.end());
    shards_.erase(std::unique(shards_.begin(), shards_.end()), shards_.end());
    return {};
  }

  /// Nothing that leads out of the folder: no separator, no "..", no control character, no drive letter.
  static bool sound_shard_name(std::string_view name) noexcept {
    const auto bad = [](char c) { return c == '/' || c == '\\' || c == ':' || static_cast<unsigned char>(c) < 0x20; };
    return name.ends_with(".safetensors") && name.size() <= 255 && name.find("..") == std::string_view::npos &&
           std::none_of(name.begin(), name.end(), bad);
  }

  /// Exactly the files of the index; every tensor of the index in its file, and no other tensor in any of them.
  expected<void> read_shards() {
    TMODEL_CHECK(require_config());
    const std::string index = folder_.path_of(index_name);
    for (const std::string_view name : shards_)
      if (!folder_.has(name))
        return fail(Errc::bad_file, "a file that the index names is missing", folder_.path_of(name), {}, {},
                    folder_.has(single_name)
                        ? "the folder has a model.safetensors: if the index is stale, give the path of that file"
                        : "download all parts into one folder");
    std::size_t found = 0;
    for (const std::string_view name : shards_) {
      TMODEL_TRY(const auto bytes, folder_.read(name));
      TensorSource shard;
      TMODEL_CHECK(read_safetensors(bytes, folder_.path_of(name), shard));
      for (TensorInfo& t : shard.tensors) {
        const auto place = std::lower_bound(places_.begin(), places_.end(), t.name,
                                            [](const Place& p, const std::string& n) { return p.tensor < n; });
        if (place == places_.end() || place->tensor != t.name || place->file != name)
          return fail(Errc::bad_file, "the index does not list this tensor in this file",
                      safetensors_place(folder_.path_of(name), t.name), {}, {},
                      "index and weights are of different versions: download them again");
        model_.source.tensors.push_back(std::move(t));
        ++found;
      }
    }
    TMODEL_CHECK(model_.source.sort());
    if (found == places_.size()) return {};
    for (const Place& place : places_)
      if (model_.source.find(place.tensor) == nullptr)
        return fail(Errc::bad_file, "a tensor of the index is not in its file",
                    safetensors_place(folder_.path_of(place.file), place.tensor), {}, {},
                    "index and weights are of different versions: download them again");
    return fail(Errc::bad_file, "index and files do not hold the same tensors", index);
  }

  tl::unexpected<Error> several(const std::vector<std::string>& names) const {
    std::string list;
    for (const std::string& name : names) {
      if (list.size() > 300) {
        list += ", …";
        break;
      }
      list += (list.empty() ? "" : ", ") + name;
    }
    return fail(Errc::bad_argument, "several GGUF files in the folder", where_, "one", list,
                "give the path of one");
  }

  tl::unexpected<Error> no_model(OpenWhat what) const {
    std::string hint;
    if (folder_.has("pytorch_model.bin") || folder_.has("pytorch_model.bin.index.json"))
      hint = "PyTorch's .bin files are not read: convert them to safetensors";
    else if (folder_.has("adapter_config.json"))
      hint = "this is an adapter: merge it into its base model first";
    return fail(Errc::bad_file, "no model in this folder", where_,
                what == OpenWhat::everything
                    ? "config.json with model.safetensors or model.safetensors.index.json, or a .gguf file"
                    : "tokenizer.json, tokenizer.model, tokenizer_config.json or a .gguf file",
                {}, hint);
  }

  Folder& folder_;
  std::string_view where_;
  ModelFiles& model_;
  JsonDocument index_;
  std::vector<Place> places_;
  std::vector<std::string_view> shards_;
};

}  // namespace detail

/// Opens a model on disk: a GGUF file (of a split model its first part), a .safetensors file with its folder's other
/// files, a folder with config.json and model.safetensors or its index, or a folder with one GGUF model. Safetensors go
/// before GGUF where a folder has both. With no_weights also a folder with tokenizer files only, and a bare
/// tokenizer.json or tokenizer.model. config.json is flattened into the metadata, generation_config.json too, under
/// "generation_config.". Files are mapped, not read.
/// Errors: io, bad_argument, bad_file, unsupported, out_of_memory; the container only: what the model is, is not asked.
inline expected<ModelFiles> open_model(std::string_view path, OpenWhat what = OpenWhat::everything) {
  return guard([&]() -> expected<ModelFiles> {
    TMODEL_TRY(std::string whole, detail::checked_path(path));
    const bool directory = os::is_directory(whole);
    if (directory && !whole.ends_with('/')) whole += '/';
    const detail::SplitPath parts = detail::split_path(whole);
    std::vector<os::MappedFile> files;
    DiskFolder folder{std::string(parts.prefix), files};
    ModelFiles model;
    detail::ModelReader reader(folder, path, model);
    const bool no_weights = what == OpenWhat::no_weights;
    if (directory)
      TMODEL_CHECK(reader.read_folder(what));
    else if (parts.name.ends_with(".safetensors"))
      TMODEL_CHECK(reader.read_named_safetensors(parts.name, what));
    else if (no_weights && parts.name.ends_with(".json"))
      TMODEL_CHECK(reader.read_tokenizer_only(parts.name, &ModelFiles::tokenizer_json));
    else if (no_weights && parts.name.ends_with(".model"))
      TMODEL_CHECK(reader.read_tokenizer_only(parts.name, &ModelFiles::tokenizer_model));
    else
      TMODEL_CHECK(reader.read_gguf_model(parts.name));
    model.source.files = std::move(files);
    return model;
  });
}

/// Opens a GGUF model that lies in the caller's memory, which must outlive the result. `where` names it in errors.
/// Errors: bad_file (also for one part of a split model), unsupported, out_of_memory.
inline expected<ModelFiles> open_model(std::span<const std::byte> gguf, std::string_view where) {
  return guard([&]() -> expected<ModelFiles> {
    ModelFiles model;
    TMODEL_CHECK(read_gguf(gguf, where, model.source));
    TMODEL_TRY(const std::uint32_t count, detail::gguf_part_count(model.source));
    if (count > 1)
      return fail(Errc::bad_file, "one part of a split model", where, {}, {},
                  "give all " + std::to_string(count) + " parts under their names");
    return model;
  });
}

/// Opens a model folder that lies in the caller's memory, by the rules of a folder on disk. The bytes must outlive the
/// result. Errors: bad_file, bad_argument, unsupported, out_of_memory.
inline expected<ModelFiles> open_model(std::span<const NamedBytes> folder, std::string_view where,
                                       OpenWhat what = OpenWhat::everything) {
  return guard([&]() -> expected<ModelFiles> {
    ModelFiles model;
    MemoryFolder files(folder, where);
    TMODEL_CHECK(detail::ModelReader(files, where, model).read_folder(what));
    return model;
  });
}

}  // namespace tmodel::inline v0
