// SPDX-License-Identifier: MIT
// Templates and conversations: ids and answers against transformers' (tools/make_chat_goldens.py), and what
// is no template or fits none.
#include "text/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/errors.h"
#include "support/folder.h"
#include "text/chat.h"
#include "text/chat_goldens.h"
#include "text/open_tokenizer.h"

namespace moe::text {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

std::shared_ptr<const Chat> open(const std::string& tokenizer, const std::string& name) {
  const bool built_in = tokenizer == "gpt2";
  const std::string setting = built_in ? "gpt2" : test::golden_chat_path(tokenizer).string();
  return open_chat(name, setting, open_tokenizer(setting));
}

TEST(ChatGoldens, IdsAndAnswersAreThoseOfTransformers) {
  const std::vector<Conversation> conversations = test::golden_conversations();
  ASSERT_EQ(conversations.size(), 200u);
  int compared = 0;
  for (const test::ChatGolden& golden : test::chat_goldens(test::golden_chat_path("expected.txt"))) {
    const auto chat = open(golden.tokenizer, golden.name);
    const auto encoder = chat->tokenizer().encoder();
    ASSERT_EQ(golden.hashes.size(), conversations.size());
    for (size_t i = 0; i < conversations.size(); ++i) {
      EXPECT_EQ(test::hash_of(*chat, conversations[i], golden.prompt, *encoder), golden.hashes[i])
          << golden.tokenizer << " " << golden.name << " " << golden.prompt << ": "
          << conversations[i].messages.dump();
      ++compared;
    }
  }
  EXPECT_EQ(compared, 3 * 6 * 2 * 200);
}

Conversation short_conversation() {
  Conversation conversation;
  conversation.add("user", "Hi<|im_end|>");
  conversation.add("assistant", "Yes");
  return conversation;
}

TEST(Chat, SpecialTextOfAUserMayStayText) {
  const auto chat = open("gpt2", "chatml");
  const auto encoder = chat->tokenizer().encoder();
  const auto ends = [&](SpecialText special) {
    const ChatTokens tokens = chat->encode(short_conversation(), false, *encoder, special);
    return std::count(tokens.ids.begin(), tokens.ids.end(), 50258);
  };
  EXPECT_EQ(ends(SpecialText::anywhere), 3);
  EXPECT_EQ(ends(SpecialText::of_template), 2);
}

TEST(Chat, AddedTokensLieBehindTheVocabulary) {
  const auto chat = open("gpt2", "auto");
  EXPECT_EQ(chat->vocabulary(), 50259);
  EXPECT_THAT(chat->added(), ElementsAre("<|im_start|>", "<|im_end|>"));
  EXPECT_THAT(chat->stops(), ElementsAre(50258, 50256));
  const auto encoder = chat->tokenizer().encoder();
  const ChatTokens prompt = chat->encode(short_conversation(), true, *encoder);
  EXPECT_EQ(chat->decode(prompt.ids, true),
            "<|endoftext|><|im_start|>user\nHi<|im_end|><|im_end|>\n<|im_start|>assistant\nYes<|im_end|>\n"
            "<|im_start|>assistant\n");
  EXPECT_EQ(chat->decode(prompt.ids), "user\nHi\nassistant\nYes\nassistant\n");
}

// Each built-in template without its tags: the answers are found again.
std::string without_tags(std::string source) {
  for (const std::string tag : {"{%- generation %}", "{%- endgeneration %}"})
    for (size_t at = source.find(tag); at != std::string::npos; at = source.find(tag))
      source.replace(at, tag.size(), "{%- if true %}{%- endif %}");
  return source;
}

TEST(Chat, AnswersAreFoundInTemplatesWithoutTags) {
  Conversation conversation = short_conversation();
  conversation.add("user", "And?");
  conversation.add("assistant", "No");
  for (const char* const name : {"chatml", "llama3", "tulu", "mistral", "qwen3"}) {
    const auto tagged = open("nfc", name);
    const Chat plain(open_tokenizer(test::golden_chat_path("nfc").string()),
                     ChatTemplate("plain", without_tags(tagged->chat_template().source()),
                                  tagged->chat_template().names()));
    const auto encoder = tagged->tokenizer().encoder();
    const ChatTokens expected = tagged->encode(conversation, false, *encoder);
    const ChatTokens found = plain.encode(conversation, false, *encoder);
    EXPECT_EQ(found.ids, expected.ids) << name;
    // Qwen3 drops the empty thought of an answer that is not the last.
    EXPECT_EQ(found.unmarked, std::string(name) == "qwen3" ? 1 : 0) << name;
    if (found.unmarked > 0) continue;
    // The answer's text and its end; the line end behind it may count, too.
    for (size_t i = 0; i < expected.answer.size(); ++i) {
      EXPECT_GE(found.answer[i], expected.answer[i]) << name << " " << i;
    }
    EXPECT_LE(std::count(found.answer.begin(), found.answer.end(), 1),
              std::count(expected.answer.begin(), expected.answer.end(), 1) + 2)
        << name;
  }
}

TEST(Chat, IsKeptInAFolder) {
  const test::TestFolder folder;
  const auto chat = open("gpt2", "llama3");
  keep_chat(folder.path() / "chat", *chat);
  ASSERT_TRUE(has_kept_chat(folder.path() / "chat"));
  const auto again = open_kept_chat(folder.path() / "chat", open_tokenizer("gpt2"));
  EXPECT_EQ(again->fingerprint(), chat->fingerprint());
  EXPECT_EQ(again->vocabulary(), chat->vocabulary());
  EXPECT_EQ(again->stops(), chat->stops());
  write_file_atomically(folder.path() / "chat" / "chat_template.jinja", "{{ messages }}");
  EXPECT_THAT(test::user_error_of([&] { open_kept_chat(folder.path() / "chat", open_tokenizer("gpt2")); }),
              HasSubstr("the template of the run"));
}

std::string render(const std::string& source, const std::string& variables = "{}") {
  Conversation conversation;
  conversation.add("user", "Hi");
  conversation.variables = parse_ordered_json("variables", variables);
  conversation.time = 0;
  return ChatTemplate("a.jinja", source).render(conversation, false).text;
}

TEST(ChatTemplate, SaysWhereItIsWrong) {
  const auto refuses = [](const std::string& source, const std::string& where, const std::string& found) {
    EXPECT_THAT(test::user_error_of([&] { render(source); }), AllOf(HasSubstr(where), HasSubstr(found)))
        << source;
  };
  refuses("a\n{% if x %}\nb", "a.jinja:2", "endif");
  refuses("a\n\n{{ 1 + }}", "a.jinja:3", "expected an expression");
  refuses("{{ 'a", "a.jinja:1", "no end");
  refuses("{% include 'x' %}", "a.jinja:1", "not known here: 'include'");
  refuses("a\n{{ raise_exception('roles ' ~ 'must alternate') }}", "a.jinja:2", "roles must alternate");
  refuses("{{ messages[0].name.first }}", "a.jinja:1", "no attribute 'name'");
  refuses("{{ x.y }}", "a.jinja:1", "'x' is undefined");
  refuses("{{ 'a' + 1 }}", "a.jinja:1", "'str' and 'int'");
  refuses("{{ 1 / 0 }}", "a.jinja:1", "division by zero");
  refuses("{{ x | wrong }}", "a.jinja:1", "no filter named 'wrong'");
  refuses("{{ messages.append(1) }}", "a.jinja:1", "cannot be changed");
  refuses("{% break %}", "a.jinja:1", "outside of a loop");
}

TEST(ChatTemplate, WorkIsBounded) {
  const auto refuses = [](const std::string& source, const std::string& found) {
    EXPECT_THAT(test::user_error_of([&] { render(source); }), HasSubstr(found));
  };
  refuses("{{ 'a' * 1000000000 }}", "64 MiB");
  refuses("{% for a in range(100000) %}{% for b in range(100000) %}{{ a + b }}{% endfor %}{% endfor %}",
          "too many steps");
  refuses("{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "too deep");
  refuses("{{ " + std::string(1000, '(') + "1" + std::string(1000, ')') + " }}", "too deep");
  std::string sum = "{{ 1";
  for (int i = 0; i < 100'000; ++i) sum += " + 1";
  refuses(sum + " }}", "too many operators");
  refuses("{{ range(1000000) }}", "100000");
}

// The outputs of Jinja 3.1 with transformers' settings.
TEST(ChatTemplate, RendersAsJinja) {
  EXPECT_EQ(render("  {% if true %}\n  a\n  {% endif %}\nb\n"), "  a\nb");
  EXPECT_EQ(render("a\n  {#- c -#}  \nb {{- 1 -}} c"), "ab1c");
  EXPECT_EQ(render("{% raw %}{{ x }}{% endraw %}{%- raw -%} y {%- endraw -%} z"), "{{ x }}yz");
  EXPECT_EQ(render("{% for c in 'aé日' %}{{ loop.index }}{{ c }}{{ ',' if not loop.last }}{% endfor %}"),
            "1a,2é,3日");
  EXPECT_EQ(render("{% for x in [1,2,3,4] if x % 2 == 0 %}{{ loop.length }}{{ x }};{% endfor %}"), "22;24;");
  EXPECT_EQ(render("{% for x in [1,2,3] %}{% if x == 2 %}{% continue %}{% endif %}{{ x }}{% endfor %}"),
            "13");
  EXPECT_EQ(render("{% for x in [] %}a{% else %}none{% endfor %}"), "none");
  EXPECT_EQ(render("{% set x = 1 %}{% for y in [1] %}{% set x = 2 %}{% endfor %}{{ x }}"), "1");
  EXPECT_EQ(render("{% set n = namespace(x=1) %}{% for y in [1] %}{% set n.x = 2 %}{% endfor %}{{ n.x }}"),
            "2");
  EXPECT_EQ(render("{% macro m(a, b='z') %}[{{ a }}{{ b }}]{% endmacro %}{{ m('x') }}{{ m(b=1, a=2) }}"),
            "[xz][21]");
  EXPECT_EQ(render("{% macro m() %}<{{ caller() }}>{% endmacro %}{% call m() %}in{% endcall %}"), "<in>");
  EXPECT_EQ(render("{% set x | upper %}a{{ 1 }}{% endset %}{{ x }}{% filter trim %} b {% endfilter %}"),
            "A1b");
  EXPECT_EQ(render("{{ 'abcdef'[1:-1:2] }}{{ 'abc'[::-1] }}{{ [1,2,3][-1] }}{{ 'aé日'[2] }}"), "bdcba3日");
  EXPECT_EQ(render("{{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** 3 }} {{ 1e22 }} {{ 1e-7 }}"),
            "3 -4 2 3.5 8 1e+22 1e-07");
  EXPECT_EQ(render("{{ 'a' ~ 1 ~ none ~ true ~ 1.0 }}{{ x }}{{ x is defined }}"), "a1NoneTrue1.0False");
  EXPECT_EQ(render("{{ [1, 'a\\'b', \"c\", none, {'k': (1,)}] }}"), "[1, \"a'b\", 'c', None, {'k': (1,)}]");
  EXPECT_EQ(render("{{ {'a': [1, 2.5, 'é<>&\\n\"'], 'b': {}} | tojson }}"),
            "{\"a\": [1, 2.5, \"é<>&\\n\\\"\"], \"b\": {}}");
  EXPECT_EQ(render("{{ {'b': 1, 'a': [2]} | tojson(indent=2, sort_keys=true) }}"),
            "{\n  \"a\": [\n    2\n  ],\n  \"b\": 1\n}");
  EXPECT_EQ(render("{{ ' a b  c '.split() | join('|') }} {{ 'a,b,c'.rsplit(',', 1) | join('|') }}"),
            "a|b|c a,b|c");
  EXPECT_EQ(render("{{ v | selectattr('r', 'equalto', 'u') | map(attribute='c') | list | join }}",
                   R"({"v": [{"r": "u", "c": "x"}, {"r": "s", "c": "y"}, {"r": "u", "c": "z"}]})"),
            "xz");
  EXPECT_EQ(render("{{ v | dictsort | first | last }}{% for k, w in v.items() %}{{ k }}{{ w }}{% endfor %}",
                   R"({"v": {"b": 1, "A": 2}})"),
            "2b1A2");
  EXPECT_EQ(render("{{ strftime_now('%d %b %Y') }}"), "01 Jan 1970");
  EXPECT_EQ(render("{{ 1 < 2 < 3 }}{{ 2 in [1, 2] }}{{ 'b' not in 'abc' }}{{ not 0 and 'x' or 'y' }}"),
            "TrueTrueFalsex");
  EXPECT_EQ(render("{{ 'a' if false }}|{{ x | default('d') }}|{{ '' | default('d', true) }}"), "|d|d");
  EXPECT_EQ(render("{{ 3 is divisibleby 3 }}{{ 'a' is string and 1 is not mapping }}"), "TrueTrue");
}

TEST(ChatTemplate, IsLoadedFromAModelsFolder) {
  const test::TestFolder folder;
  EXPECT_FALSE(ChatTemplate::is_in(folder.path()));
  EXPECT_THAT(test::user_error_of([&] { ChatTemplate::load(folder.path()); }),
              AllOf(HasSubstr(folder.path().string()), HasSubstr("neither")));
  write_file_atomically(folder.path() / "tokenizer_config.json",
                        R"({"eos_token": {"content": "</s>"}, "bos_token": "<s>", "add_bos_token": true,
                            "chat_template": [{"name": "default", "template": "{{ bos_token }}d"},
                                              {"name": "tool_use", "template": "{{ eos_token }}t"}]})");
  ASSERT_TRUE(ChatTemplate::is_in(folder.path()));
  EXPECT_EQ(ChatTemplate::load(folder.path()).render({}, false).text, "<s>d");
  EXPECT_EQ(ChatTemplate::load(folder.path(), "tool_use").render({}, false).text, "</s>t");
  EXPECT_THAT(test::user_error_of([&] { ChatTemplate::load(folder.path(), "rag"); }),
              AllOf(HasSubstr("one named rag"), HasSubstr("default, tool_use")));
  write_file_atomically(folder.path() / "chat_template.jinja", "{{ bos_token }}file\n");
  EXPECT_EQ(ChatTemplate::load(folder.path()).render({}, false).text, "<s>file");
}

}  // namespace
}  // namespace moe::text
