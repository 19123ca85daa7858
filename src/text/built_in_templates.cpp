// SPDX-License-Identifier: MIT
// Templates inside the program. Each writes what the one that a family publishes writes
// (tools/make_chat_goldens.py compares), and says which text is an answer's: the token that ends it belongs
// to it, the line end behind that does not.
#include <array>
#include <string>

#include "text/chat_template.h"

namespace moe::text {
namespace {

constexpr std::string_view kChatMl = R"({%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\n' }}
    {%- if message.role == 'assistant' %}
        {%- generation %}
            {{- message.content + '<|im_end|>' }}
        {%- endgeneration %}
    {%- else %}
        {{- message.content + '<|im_end|>' }}
    {%- endif %}
    {{- '\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}
)";

// Reasoning stays behind the last question only.
constexpr std::string_view kQwen3 = R"(
{%- macro calls(message, content) %}
    {%- for call in message.tool_calls %}
        {%- if content or not loop.first %}
            {{- '\n' }}
        {%- endif %}
        {%- set made = call.function if call.function else call %}
        {{- '<tool_call>\n{"name": "' ~ made.name ~ '", "arguments": ' }}
        {{- made.arguments if made.arguments is string else made.arguments | tojson }}
        {{- '}\n</tool_call>' }}
    {%- endfor %}
{%- endmacro %}
{%- if tools %}
    {{- '<|im_start|>system\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content + '\n\n' }}
    {%- endif %}
    {{- "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n" }}
    {{- "You are provided with function signatures within <tools></tools> XML tags:\n<tools>" }}
    {%- for tool in tools %}
        {{- '\n' ~ tool | tojson }}
    {%- endfor %}
    {{- "\n</tools>\n\nFor each function call, return a json object with function name and arguments" }}
    {{- " within <tool_call></tool_call> XML tags:\n<tool_call>\n" }}
    {{- '{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call><|im_end|>\n' }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}
{%- endif %}
{%- set last = namespace(question=messages | length - 1) %}
{%- for message in messages %}
    {%- if message.role == 'user' and message.content is string %}
        {%- set answer = message.content.startswith('<tool_response>') %}
        {%- if not (answer and message.content.endswith('</tool_response>')) %}
            {%- set last.question = loop.index0 %}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content if message.content is string else '' %}
    {%- if message.role == 'user' or (message.role == 'system' and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\n' + content + '<|im_end|>\n' }}
    {%- elif message.role == 'assistant' %}
        {%- set thought = '' %}
        {%- if message.reasoning_content is string %}
            {%- set thought = message.reasoning_content %}
        {%- elif '</think>' in content %}
            {%- set before = content.split('</think>')[0].rstrip('\n') %}
            {%- set thought = before.split('<think>')[-1].lstrip('\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\n') %}
        {%- endif %}
        {{- '<|im_start|>assistant\n' }}
        {%- generation %}
            {%- if loop.index0 > last.question and (loop.last or thought) %}
                {{- '<think>\n' + thought.strip('\n') + '\n</think>\n\n' + content.lstrip('\n') }}
            {%- else %}
                {{- content }}
            {%- endif %}
            {%- if message.tool_calls %}
                {{- calls(message, content) }}
            {%- endif %}
            {{- '<|im_end|>' }}
        {%- endgeneration %}
        {{- '\n' }}
    {%- elif message.role == 'tool' %}
        {%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\n<tool_response>\n' + content + '\n</tool_response>' }}
        {%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}
            {{- '<|im_end|>\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\n\n</think>\n\n' }}
    {%- endif %}
{%- endif %}
)";

constexpr std::string_view kLlama3 = R"(
{%- for message in messages %}
    {%- if loop.first %}
        {{- bos_token }}
    {%- endif %}
    {{- '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' }}
    {%- if message.role == 'assistant' %}
        {%- generation %}
            {{- message.content | trim + '<|eot_id|>' }}
        {%- endgeneration %}
    {%- else %}
        {{- message.content | trim + '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}
)";

// Other roles are left out.
constexpr std::string_view kTulu = R"(
{%- for message in messages %}
    {%- if message.role == 'assistant' %}
        {{- '<|assistant|>\n' }}
        {%- generation %}
            {{- message.content + eos_token }}
        {%- endgeneration %}
        {%- if not loop.last %}
            {{- '\n' }}
        {%- endif %}
    {%- elif message.role == 'system' or message.role == 'user' %}
        {{- '<|' + message.role + '|>\n' + message.content + '\n' }}
    {%- endif %}
    {%- if loop.last and add_generation_prompt %}
        {{- '<|assistant|>\n' }}
    {%- endif %}
{%- endfor %}
)";

// Version 0.2 of the 7B model: what a system says stands in front of the first question.
constexpr std::string_view kMistral = R"(
{%- set system = '' %}
{%- set turns = messages %}
{%- if messages[0].role == 'system' %}
    {%- set system = messages[0].content + '\n\n' %}
    {%- set turns = messages[1:] %}
{%- endif %}
{{- bos_token }}
{%- for message in turns %}
    {%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('After the optional system message, roles must alternate: user, assistant, user') }}
    {%- endif %}
    {%- if message.role == 'user' %}
        {{- ' [INST] ' + (system if loop.first else '') + message.content + ' [/INST]' }}
    {%- elif message.role == 'assistant' %}
        {%- generation %}
            {{- ' ' + message.content + eos_token }}
        {%- endgeneration %}
    {%- else %}
        {{- raise_exception('There is no place for the role ' + message.role) }}
    {%- endif %}
{%- endfor %}
)";

const std::array<BuiltInTemplate, 6>& all() {
  // ChatML behind an end of text, with which every document of pre-training begins.
  static const std::string kDefault = "{{- bos_token }}\n" + std::string(kChatMl);
  static const std::array<BuiltInTemplate, 6> kAll{
      {{"default", kDefault, {"<|im_start|>", "<|im_end|>"}},
       {"chatml", kChatMl, {"<|im_start|>", "<|im_end|>"}},
       {"qwen3", kQwen3, {"<|im_start|>", "<|im_end|>"}},
       {"llama3", kLlama3, {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"}},
       {"tulu", kTulu, {}},
       {"mistral", kMistral, {}}}};
  return kAll;
}

}  // namespace

std::vector<std::string> built_in_templates() {
  std::vector<std::string> names;
  for (const BuiltInTemplate& one : all()) names.emplace_back(one.name);
  return names;
}

const BuiltInTemplate* find_built_in_template(std::string_view name) {
  for (const BuiltInTemplate& one : all())
    if (one.name == name) return &one;
  return nullptr;
}

}  // namespace moe::text
