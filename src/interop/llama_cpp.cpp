// SPDX-License-Identifier: MIT
#include "interop/llama_cpp.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "interop/hf_config.h"
#include "text/load_tokenizer.h"
#include "text/split_pattern.h"
#include "text/tokenizer_json.h"

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

// What llama.cpp calls the pattern by which the tokenizer cuts text; "" where it has none that makes the same
// ids for sure.
std::string_view pattern_there(const text::Tokenizer& tokenizer) {
  if (tokenizer.origin().files.front().name == text::kSentencePieceFile) return "";
  const text::BytePairModel model =
      text::read_tokenizer_json("tokenizer.json", text::tokenizer_as_json(tokenizer),
                                {std::string(tokenizer.facts().end_of_text_name), ""});
  if (model.steps || model.normalizer || model.characters || model.whole_first) return "";
  switch (model.pattern) {
    case text::SplitPattern::gpt2:
      return "gpt-2";
    case text::SplitPattern::gpt2_digits:
      return "starcoder";
    case text::SplitPattern::qwen:
      return "qwen2";
    case text::SplitPattern::o200k:
      return "gpt-4o";
    case text::SplitPattern::cl100k:
    case text::SplitPattern::llama3:
    case text::SplitPattern::tekken:
    case text::SplitPattern::deepseek3:
      return "";  // theirs take a word that is a token whatever its merges make, or put a token in front
  }
  CHECK(false, "a pattern without a word");
}

constexpr const char* kConvert = R"(
## llama.cpp

llama.cpp's own converter makes a file of this folder, and its programs run that file; nothing of them is changed
(`llama.cpp/` is its source):

```
python llama.cpp/convert_hf_to_gguf.py . --outtype f16 --outfile model.gguf
)";

constexpr const char* kChat = R"(llama-cli -m model.gguf --jinja --temp 0
```

- **The chat template** is in the file; `--jinja` has llama.cpp's programs render it as it is, also where they would
  take one of their own for it.
)";

// {0}: the first token of a text.
constexpr const char* kRun = R"(llama-completion -m model.gguf -no-cnv --temp 0 -n 50 -p "{0}The"
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

constexpr const char* kUnknownPattern =
    ", with llama.cpp's word for its pattern (llama-vocab.cpp there) as `NAME`, if it has one";

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
                           const text::Tokenizer& tokenizer, const text::Chat* chat) {
  std::string text = kConvert;
  text += chat != nullptr ? kChat : fmt::format(kRun, tokenizer.facts().end_of_text_name);
  const int64_t first = chat != nullptr ? chat->vocabulary() : tokenizer.vocabulary();
  const int64_t rows = config.vocab_size - first;
  if (rows > 0) text += fmt::format(kPadding, first, rows, config.vocab_size - 1);
  if (family.zero_blocks) text += kZeros;
  if (in_llama_cpp(tokenizer)) return text;
  const std::string_view name = pattern_there(tokenizer);
  return text + fmt::format(kTokenizer, name.empty() ? kUnknownPattern : "", name.empty() ? "NAME" : name);
}

}  // namespace moe::interop
