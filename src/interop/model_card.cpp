// SPDX-License-Identifier: MIT
#include "interop/model_card.h"

#include <fmt/format.h>

#include <map>
#include <sstream>

#include "base/format.h"
#include "base/json.h"
#include "model/flops.h"

namespace moe::interop {
namespace {

std::string row(const std::string& name, const std::string& value) {
  return fmt::format("| {} | {} |\n", name, value);
}

std::string architecture(const model::ModelConfig& config, std::string_view tokenizer) {
  const model::ParameterCount parameters = model::count_parameters(config);
  std::string text = "## Model\n\n| | |\n|---|---|\n";
  text += row("parameters",
              fmt::format("{} ({} active for a token)", format_count(static_cast<double>(parameters.total)),
                          format_count(static_cast<double>(parameters.active))));
  text += row("layers, width", fmt::format("{}, {}", config.n_layers, config.d_model));
  text += row("attention",
              fmt::format("{} query heads, {} key/value heads of {}{}", config.n_heads, config.n_kv_heads,
                          config.heads().dim, config.attention_gate ? ", with an output gate" : ""));
  if (config.moe_layers() > 0)
    text += row("experts", fmt::format("{} of width {}, {} for each token", config.num_experts,
                                       config.expert_intermediate_dim, config.top_k));
  if (config.shared_expert_dim > 0)
    text += row("shared expert", fmt::format("of width {}{}", config.shared_expert_dim,
                                             config.shared_expert_gate ? ", gated" : ""));
  if (config.first_dense_layers > 0)
    text += row("dense layers",
                fmt::format("the first {}, of width {}", config.first_dense_layers, config.dense_width()));
  text += row("vocabulary", fmt::format("{}, {} rows", tokenizer, config.vocab_size));
  text += row("trained on", fmt::format("{} tokens at a time", config.max_seq_len));
  return text;
}

constexpr const char* kContinues =
    "It is a base model: it continues text and has been taught no manners and no facts but those of "
    "its\ntext";
constexpr const char* kAnswers =
    "It was taught to answer in conversations; it has no facts but those of its text and of these";

// {0}: the end of text. {1}: the class. {2}: how it is used.
constexpr const char* kUse = R"(
## Use

It is a `{1}` of transformers 5{2}; no
code of its own. Documents began with `{0}` in training, so put it in front of a prompt:

```python
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(".")
model = AutoModelForCausalLM.from_pretrained(".")
ids = tokenizer("{0}The", return_tensors="pt")
print(tokenizer.decode(model.generate(**ids, max_new_tokens=50)[0]))
```

`moe import .` brings it back to moe.cpp.
)";

// {0}: the class. {1}: how it is used.
constexpr const char* kUseChat = R"(
## Use

It is a `{0}` of transformers 5{1}; no
code of its own. `chat_template.jinja` is the template that it was taught with, and `generation_config.json` has the
tokens that end an answer:

```python
from transformers import pipeline
chat = pipeline("text-generation", model=".")
messages = [{{"role": "user", "content": "What is a lantern?"}}]
print(chat(messages, max_new_tokens=100)[0]["generated_text"][-1]["content"])
```

`moe import .` brings it back to moe.cpp; `moe chat` talks with it there.
)";

}  // namespace

std::string model_card(const model::ModelConfig& config, const CardFacts& facts, const Family& family) {
  const bool experts = config.moe_layers() > 0;
  std::string text = fmt::format(
      "---\nlibrary_name: transformers\npipeline_tag: text-generation\ntags:\n{}- moe.cpp\n---\n\n",
      experts ? "- mixture-of-experts\n" : "");
  text += fmt::format("# {}\n\nA {} language model ", facts.name, experts ? "Mixture-of-Experts" : "dense");
  if (facts.imported)  // what it had been taught before is not known
    text += fmt::format(
        "that moe.cpp (`{}`) imported, exported at step {} in {}.\n"
        "Add the licence of the imported model and what it was trained on since before you publish it.\n\n",
        facts.program, facts.step, facts.dtype);
  else
    text += fmt::format(
        "trained with moe.cpp (`{}`), exported after {} steps in {}.\n"
        "{}. Add its licence and what the text was before you publish it.\n\n",
        facts.program, facts.step, facts.dtype, facts.answers ? kAnswers : kContinues);
  text += architecture(config, facts.tokenizer.name);
  text += "\n## Training\n\n| | |\n|---|---|\n";
  for (const std::string& source : facts.sources) text += row("text", "`" + source + "`");
  for (const auto& [name, value] : facts.training) text += row(name, value);
  if (!facts.figures.empty()) {
    text += fmt::format(
        "\n## Figures\n\nThe last ones in the run's record; losses in nats per token of {}.\n\n"
        "| | |\n|---|---|\n",
        facts.tokenizer.name);
    for (const auto& [name, value] : facts.figures) text += row(name, fmt::format("{:.6g}", value));
  }
  std::string use = family.layer_types ? " with full attention in every layer" : "";
  if (family.shared.none == SharedExpertOfFamily::None::zeros && config.shared_expert_dim == 0)
    use += " and a shared expert of zeros";
  text += facts.answers ? fmt::format(kUseChat, family.architecture, use)
                        : fmt::format(kUse, facts.tokenizer.end_of_text_name, family.architecture, use);
  return text + facts.llama_cpp;
}

std::vector<std::pair<std::string, double>> last_figures(const std::string& metrics, int64_t step,
                                                         const std::vector<std::string>& names) {
  std::map<std::string, double> last;
  std::istringstream lines(metrics);
  for (std::string line; std::getline(lines, line);) {
    const auto json = try_parse_json(line);
    if (!json || !json->is_object() || !json->contains("step") || !json->at("step").is_number_integer() ||
        json->at("step") > step)
      continue;
    for (const auto& [name, value] : json->items())
      if (value.is_number()) last[name] = value.get<double>();
  }
  std::vector<std::pair<std::string, double>> figures;
  for (const std::string& wanted : names)
    for (const auto& [name, value] : last)
      if (name == wanted || (wanted.ends_with('/') && name.starts_with(wanted)))
        figures.emplace_back(name, value);
  return figures;
}

}  // namespace moe::interop
