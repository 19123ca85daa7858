// SPDX-License-Identifier: MIT
#include "interop/llama_cpp.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "interop/hf_config.h"
#include "text/load_tokenizer.h"

namespace moe::interop {
namespace {

// A setting that llama.cpp has not, and what becomes of it there.
struct Limit {
  const char* setting;
  std::string expected, found;
  const char* why;
};

constexpr const char* kSilent = "llama.cpp computes other logits than the model's and says nothing";
constexpr const char* kConverter = "llama.cpp's converter refuses it";
constexpr const char* kProgram = "llama.cpp's program does not load it";

std::string words(bool value) {
  return value ? "true" : "false";
}

std::optional<Limit> expert_limit(const FamilyInLlamaCpp& there, const model::ModelConfig& config) {
  if (config.moe_layers() == 0) return std::nullopt;
  if (there.renormalise && *there.renormalise != config.renormalize_top_k)
    return Limit{"model.renormalize_top_k", words(*there.renormalise), words(config.renormalize_top_k),
                 kSilent};
  if (!there.dense_layers && config.first_dense_layers > 0)
    return Limit{"model.first_dense_layers", "0", std::to_string(config.first_dense_layers), kConverter};
  return std::nullopt;
}

std::optional<Limit> rope_limit(const FamilyInLlamaCpp& there, const model::ModelConfig& config) {
  if (config.rope_scaling == model::RopeScaling::llama3 && !there.llama3_rope)
    return Limit{"model.rope_scaling", "none, linear or yarn", "llama3", kSilent};
  if (config.rope_scaling == model::RopeScaling::yarn && config.rope_attention_factor > 0)
    return Limit{"model.rope_attention_factor", "0, as the scaling factor says",
                 fmt::format("{}", config.rope_attention_factor), kSilent};
  return std::nullopt;
}

std::optional<Limit> attention_limit(const FamilyInLlamaCpp& there, const model::ModelConfig& config) {
  const Heads heads = config.heads();
  if (!there.head_dim && heads.query * heads.dim != config.d_model)
    return Limit{"model.head_dim", fmt::format("d_model / n_heads = {}", config.d_model / config.n_heads),
                 std::to_string(heads.dim), kProgram};
  if (!there.grouped_heads && heads.kv != heads.query)
    return Limit{"model.n_kv_heads", std::to_string(heads.query), std::to_string(heads.kv), kProgram};
  if (!there.tied && config.tie_embeddings) return Limit{"model.tie_embeddings", "false", "true", kProgram};
  for (int64_t i = 0; i < config.n_layers; ++i)
    if (const int64_t window = config.window_of(i); window > 0 && window < config.max_seq_len)
      return Limit{"model.attention_window", "the whole row in each layer", std::to_string(window), kSilent};
  if (there.norm_eps && *there.norm_eps != config.norm_eps)
    return Limit{"model.norm_eps", fmt::format("{}", *there.norm_eps), fmt::format("{}", config.norm_eps),
                 kSilent};
  return rope_limit(there, config);
}

std::optional<Limit> limit(const model::ModelConfig& config, const Family& family) {
  if (auto found = expert_limit(family.llama_cpp, config)) return found;
  return attention_limit(family.llama_cpp, config);
}

// Whether the converter finds the tokens that it looks for.
bool has_tokens(const Family& family, const text::Tokenizer& tokenizer) {
  const auto& files = tokenizer.origin().files;
  return family.llama_cpp.token.empty() ||
         std::ranges::any_of(files, [&](const text::TokenizerOrigin::File& file) {
           return file.bytes.find(family.llama_cpp.token) != std::string::npos;
         });
}

// Whether words are cut as GPT-2's are, whatever they become.
bool cuts_as_gpt2(const text::Tokenizer& tokenizer) {
  if (tokenizer.origin().files.empty()) return true;
  if (tokenizer.origin().files.front().name != "tokenizer.json") return tokenizer.origin().pattern == "gpt2";
  const auto json = try_parse_json(text::tokenizer_as_json(tokenizer));
  if (!json || !json->is_object() || !json->contains("pre_tokenizer")) return false;
  const Json& cut = json->at("pre_tokenizer");
  return cut.is_object() && cut.value("type", "") == "ByteLevel" && cut.value("use_regex", true) &&
         (!json->contains("normalizer") || json->at("normalizer").is_null());
}

// {0}: the first token of a text.
constexpr const char* kRun = R"(
## llama.cpp

llama.cpp's own converter makes a file of this folder, and its programs run that file; nothing of them is changed:

```
python llama.cpp/convert_hf_to_gguf.py . --outtype f16 --outfile model.gguf
llama-completion -m model.gguf -no-cnv --temp 0 -n 50 -p "{0}The"
```

- **A prompt begins with `{0}`**, as the documents did in training. llama.cpp puts nothing in front by itself;
  with `--override-kv tokenizer.ggml.add_bos_token=bool:true` it does.
)";

// {0}: the first row that is no token. {1}: how many there are. {2}: the option for each of them.
constexpr const char* kPadding =
    R"(- **{1} rows of the vocabulary are no tokens** (from {0} on; llama.cpp calls them `[PAD{0}]` and so on). Training
  leaves them out of its softmax, llama.cpp does not. Greedy text is the same. Its samplers by default (top-k 40,
  min-p 0.05) hardly draw one; plain sampling (`--top-k 0 --min-p 0 --top-p 1`) may: forbid them with
  `--logit-bias {0}-inf` and so on for each:
  `$(seq -f "--logit-bias %.0f-inf" {0} {2})`.
)";

constexpr const char* kZeros =
    R"(- **Two blocks of zeros** stand behind the last layer: a layer of linear attention and an `mtp` block. They add
  nothing to any vector, so logits are the same. llama.cpp gives up where a Qwen3-Next has not both. `moe import`
  leaves them out; transformers takes the first as a layer of the model. `--spec-type draft-mtp` is of no use.
)";

// {0}: what the name stands for. {1}: the name.
constexpr const char* kTokenizer =
    R"(- **The tokenizer** is not among those that the converter knows by their ids, so it stops with "BPE pre-tokenizer
  was not recognized". Tell it how this one cuts text, from outside{0}:

```
python - . --outtype f16 --outfile model.gguf <<'END'
import runpy, sys
sys.path.insert(0, "llama.cpp")
from conversion.base import TextModel
TextModel.get_vocab_base_pre = lambda self, tokenizer: "{1}"
sys.argv[0] = "convert_hf_to_gguf.py"
runpy.run_path("llama.cpp/convert_hf_to_gguf.py", run_name="__main__")
END
```
)";

}  // namespace

void check_llama_cpp(const model::ModelConfig& config, const Family& family,
                     const text::Tokenizer& tokenizer) {
  if (!has_tokens(family, tokenizer))
    throw UserError("data.tokenizer", fmt::format("one with the token {}", family.llama_cpp.token),
                    std::string(tokenizer.facts().name),
                    fmt::format("llama.cpp's converter looks for GLM's tokens in {}: export without --for "
                                "llama.cpp, or with another --family",
                                family.name));
  const auto found = limit(config, family);
  if (!found) return;
  std::vector<std::string_view> others;
  for (const Family& other : families())
    if (fits(config, other) && !limit(config, other) && has_tokens(other, tokenizer))
      others.emplace_back(other.name);
  const std::string otherwise =
      others.empty() ? "export without --for llama.cpp, for other programs"
                     : fmt::format("it takes this model as --family {}", fmt::join(others, " or --family "));
  throw UserError(found->setting, fmt::format("{} in a {} for llama.cpp", found->expected, family.name),
                  found->found, fmt::format("{}; {}", found->why, otherwise));
}

bool in_llama_cpp(const text::Tokenizer& tokenizer) {
  return tokenizer.origin().files.empty();
}

std::string llama_cpp_card(const model::ModelConfig& config, const Family& family,
                           const text::Tokenizer& tokenizer) {
  std::string text = fmt::format(kRun, tokenizer.facts().end_of_text_name);
  const int64_t first = tokenizer.vocabulary(), rows = config.vocab_size - first;
  if (rows > 0) text += fmt::format(kPadding, first, rows, config.vocab_size - 1);
  if (family.zero_blocks) text += kZeros;
  if (in_llama_cpp(tokenizer)) return text;
  const bool known = cuts_as_gpt2(tokenizer);
  return text +
         fmt::format(kTokenizer,
                     known ? "" : " (`NAME` is the name of its pattern in llama.cpp's llama-vocab.cpp)",
                     known ? "gpt-2" : "NAME");
}

}  // namespace moe::interop
