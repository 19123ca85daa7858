// SPDX-License-Identifier: MIT
// The families of models that moe reads and writes, as a table: what each is called, what its config.json
// says and leaves out, what its layers have, and what its tensors are called. Reading and writing
// (hf_config.h, tensor_map.h) ask the row and know no family by name. docs/interop.md has the table in words.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "model/config.h"

namespace moe::interop {

// The expert that each token goes to, as a family has it.
struct SharedExpertOfFamily {
  std::string name;     // behind model.layers.I., with a dot at its end; "": the family has none
  std::string width;    // the key of its width
  bool counts = false;  // the key counts experts of F, which are one of their widths together
  bool gate = false;    // sigmoid gate on its result
  // How a model without one is said: it cannot, by a width of 0, or by one of width 1 that is zero.
  enum class None : uint8_t { never, no_width, zeros } none = None::never;
};

// What llama.cpp takes of a family: what its converter or its program fixes, whatever config.json says
// (interop/llama_cpp.h).
struct FamilyInLlamaCpp {
  std::optional<bool> renormalise = {};  // norm_topk_prob counts as this
  std::optional<double> norm_eps = {};   // rms_norm_eps counts as this
  bool dense_layers = true;              // layers without experts are converted
  bool head_dim = true;                  // heads need not be D / H wide
  bool grouped_heads = true;             // heads of keys may be fewer than those of queries
  bool tied = true;                      // the head may be tied
  bool llama3_rope = false;              // reads rope_type llama3
  std::string_view token = {};           // the converter looks for this one
};

struct Family {
  std::string name;          // "model_type", and the name for `moe export --family`
  std::string architecture;  // the class of transformers: "architectures"

  // config.json.
  Json defaults = Json::object();  // of the class, for keys that a file leaves out; no sizes of the model
  Json fixed = Json::object();     // what our model computes: what a key must hold where it is there
  double rope_theta = 1e4;         // of the class
  bool partial = false;            // reads partial_rotary_factor; else all of a head turns
  double partial_rotary = 1;       // of the class: the share of a head that turns
  std::string rotary_dim;          // the key of that share as dimensions; "": there is none
  bool layer_types = false;        // has to say that each layer has full attention
  std::vector<std::string> experts = {"num_experts"};  // names of E; the first is written
  std::string expert_width = "moe_intermediate_size";  // the name of F
  bool renormalise_key = true;                         // norm_topk_prob; else weights always sum to one
  bool head_dim_key = true;                            // else H d is D
  std::string dense_layers;       // mlp_only_layers, or the key of their number, with intermediate_size
  bool no_experts = false;        // each layer is dense: intermediate_size alone
  bool window = false;            // sliding_window, of all layers
  std::string qkv_bias;           // the key of biases on q, k and v; "": never
  std::string qk_norm_key;        // the key that turns qk_norm off; "": it is as below
  std::string router_scale;       // the key of the routing weights' factor; "": 1
  bool multipliers = false;       // embedding_multiplier and Granite's three others
  std::vector<std::string> idle;  // keys that change nothing in a model that passed the rest

  // Layers.
  bool gate = false;  // G1, in q_proj
  QkNorm qk_norm = QkNorm::none;
  RouterScore score = RouterScore::softmax;
  SharedExpertOfFamily shared = {};

  // Tensors.
  bool norms_less_one = false;                       // the weight of a norm is kept less one
  bool keep_f32 = false;                             // routers and norms, whatever the type of the rest
  bool router_f32 = false, router_bias_f32 = false;  // of these alone
  std::string moe = "mlp.";                          // behind model.layers.I.
  std::string router = "gate.weight";                // behind moe
  std::string router_bias;                           // behind moe; "": experts are chosen without
  std::string expert_gate = "gate_proj", expert_up = "up_proj", expert_down = "down_proj";
  bool joined_experts = false;     // all in one tensor, input_linear and output_linear
  bool prediction_layers = false;  // layers of multi-token prediction may follow, which are left out
  bool zero_blocks = false;        // llama.cpp wants two more blocks, of zeros (tensor_map.h)

  FamilyInLlamaCpp llama_cpp = {};
};

std::span<const Family> families();
// What `moe export` writes where nothing else is asked for: it holds all that a model of our own has by
// default.
const Family& own_family();
// Null where there is none of this name.
const Family* find_family(std::string_view name);
std::string family_names();  // "qwen3_next, qwen3_moe, ..."

// Why a model_type, or a key of config.json, is refused, and what to do: the end of a message. "": nothing is
// known of it.
std::string why_not_family(std::string_view model_type);
std::string why_not_key(std::string_view key);

}  // namespace moe::interop
