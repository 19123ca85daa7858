// SPDX-License-Identifier: MIT
#include "cli/sampling_options.h"

namespace moe::cli {

void add_sampling(CLI::App& command, generate::SamplingOptions& sampling) {
  command.add_option("--max-new-tokens", sampling.max_new_tokens, "Stop after so many")
      ->capture_default_str();
  command.add_option("--temperature", sampling.temperature, "0: always the most likely token")
      ->capture_default_str();
  command.add_option("--top-k", sampling.top_k, "Only the k most likely tokens; 0: all")
      ->capture_default_str();
  command.add_option("--top-p", sampling.top_p, "Only the most likely that together reach p")
      ->capture_default_str();
  command
      .add_option("--min-p", sampling.min_p, "Only those at least p times as likely as the most likely one")
      ->capture_default_str();
  command
      .add_option("--repetition-penalty", sampling.repetition_penalty,
                  "Above 1: what has occurred becomes less likely")
      ->capture_default_str();
  command.add_option("--stop", sampling.stop, "End before this text; may be given again")
      ->type_name("TEXT")
      ->allow_extra_args(false);
  command.add_option("--seed", sampling.seed, "The same seed writes the same text")->capture_default_str();
}

}  // namespace moe::cli
