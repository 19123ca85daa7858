// SPDX-License-Identifier: MIT
// Items as prompts: each text here is what lm-evaluation-harness's or llm.c's own code makes of the same item
// (read in their sources; tools/check_tasks.py runs one beside the other).
#include "tasks/question.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/errors.h"
#include "support/source_dir.h"
#include "tasks/clean_text.h"
#include "text/gpt2_tokenizer.h"
#include "text/open_tokenizer.h"

namespace moe::tasks {
namespace {

using test::user_error_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* kHellaswag =
    R"({"activity_label":"Baking","ctx_a":"A man is  in a kitchen. [header] How to bake [title] Bread","ctx_b":"the MAN then",)"
    R"("ctx":"raw text [x]","endings":["[step] kneads it.","sleeps","eats é.","runs"],"label":"2"})";

TEST(Question, HellaswagInBothConventions) {
  const Question lm = parse_question(Task::hellaswag, Convention::lm_eval, "x", kHellaswag);
  EXPECT_EQ(lm.context, "Baking: A man is in a kitchen. How to bake. Bread The man then");
  EXPECT_THAT(lm.continuations, ElementsAre("  kneads it.", " sleeps", " eats é.", " runs"));
  EXPECT_THAT(lm.characters, ElementsAre(11, 6, 7, 4));
  EXPECT_EQ(lm.gold, 2);
  const Question raw = parse_question(Task::hellaswag, Convention::llm_c, "x", kHellaswag);
  EXPECT_EQ(raw.context, "raw text [x]");
  EXPECT_EQ(raw.continuations[0], " [step] kneads it.");
}

// Expected values: Python's str.strip() and str.rstrip().
TEST(Question, WhiteSpaceIsThatOfUnicode) {
  EXPECT_EQ(strip("\xc2\xa0 a\xc2\xa0\xe3\x80\x80z\xe2\x80\x89\t\xc2\x85"), "a\xc2\xa0\xe3\x80\x80z");
  EXPECT_EQ(strip("\x1c\x1fz\x1e"), "z");
  EXPECT_EQ(strip("\xe2\x80\x8b"
                  "z"),
            "\xe2\x80\x8b"
            "z");  // a zero-width space is none
  EXPECT_EQ(strip_right(" a\xc2\xa0"), " a");
  EXPECT_EQ(strip(" \xc2\xa0 "), "");
  EXPECT_EQ(strip("\xa0z\xc2"), "\xa0z\xc2");  // no UTF-8
  EXPECT_EQ(clean_wikihow("\xc2\xa0 eats. \xc2\xa0"), "eats.");
  // A no-break space at the end of a context is scored with what follows it.
  const Question lambada =
      parse_question(Task::lambada, Convention::lm_eval, "x", "{\"text\":\"he said\xc2\xa0 no\"}");
  const text::Gpt2Tokenizer tokenizer;
  const auto encoder = tokenizer.encoder();
  const auto end = tokenizer.encode("\xc2\xa0 no");
  EXPECT_EQ(requests_of(lambada, Convention::lm_eval, tokenizer.facts(), *encoder)[0].scored,
            std::ssize(end));
}

TEST(Question, TheOthers) {
  const Question lambada =
      parse_question(Task::lambada, Convention::lm_eval, "x", R"({"text":"she opened the old door"})");
  EXPECT_EQ(lambada.context, "she opened the old");
  EXPECT_THAT(lambada.continuations, ElementsAre(" door"));

  const char* hub =
      R"({"question":"Which?","choices":{"text":["ice","sun","a","b"],"label":["A","B","C","D"]},"answerKey":"B"})";
  const char* authors =
      R"({"question":{"stem":"Which?","choices":[{"text":"ice","label":"1"},{"text":"sun","label":"2"}]},"answerKey":"2"})";
  for (const char* json : {hub, authors}) {
    const Question arc = parse_question(Task::arc_easy, Convention::lm_eval, "x", json);
    EXPECT_EQ(arc.context, "Question: Which?\nAnswer:");
    EXPECT_EQ(arc.continuations[1], " sun");
    EXPECT_EQ(arc.gold, 1);
  }
  const Question piqa = parse_question(Task::piqa, Convention::lm_eval, "x",
                                       R"({"goal":"dry it","sol1":"sun","sol2":"rain","label":0})");
  EXPECT_EQ(piqa.context, "Question: dry it\nAnswer:");
  EXPECT_THAT(piqa.continuations, ElementsAre(" sun", " rain"));
}

TEST(Question, MistakesAreNamed) {
  const auto complaint = [](Task task, const char* json) {
    return user_error_of([&] { parse_question(task, Convention::lm_eval, "items:3", json); });
  };
  EXPECT_THAT(complaint(Task::piqa, "{"), HasSubstr("items:3"));
  EXPECT_THAT(complaint(Task::piqa, "[]"), HasSubstr("a JSON object"));
  EXPECT_THAT(complaint(Task::piqa, R"({"goal":"g","sol1":"a","sol2":"b"})"), HasSubstr("\"label\""));
  EXPECT_THAT(complaint(Task::piqa, R"({"goal":"g","sol1":"a","sol2":"b","label":2})"), HasSubstr("below 2"));
  EXPECT_THAT(complaint(Task::lambada, R"({"text":"word"})"), HasSubstr("several words"));
  EXPECT_THAT(
      complaint(Task::arc_easy, R"({"question":"q","choices":{"text":["a"],"label":["A"]},"answerKey":"B"})"),
      HasSubstr("answerKey"));
  EXPECT_THAT(complaint(Task::hellaswag, R"({"endings":[],"label":0})"), HasSubstr("endings"));
  EXPECT_THAT(user_error_of([] { parse_task("winogrande"); }), HasSubstr("winogrande"));
}

TEST(Question, PythonsCapitalize) {
  EXPECT_EQ(capitalized("hELLO World"), "Hello world");
  EXPECT_EQ(capitalized("éCOLE ÄÖ"), "École äö");
  EXPECT_EQ(capitalized(""), "");
}

TEST(Requests, SpacesAtTheEndOfAContextMoveToTheContinuation) {
  const text::Gpt2Tokenizer tokenizer;
  const auto encoder = tokenizer.encoder();
  const Question question{.context = "one two ", .continuations = {" three"}, .characters = {5}};
  const auto lm = requests_of(question, Convention::lm_eval, tokenizer.facts(), *encoder).front();
  EXPECT_EQ(tokenizer.decode(lm.ids), "one two  three");
  EXPECT_EQ(tokenizer.decode(std::span(lm.ids).last(static_cast<size_t>(lm.scored))), "  three");
  const auto raw = requests_of(question, Convention::llm_c, tokenizer.facts(), *encoder).front();
  EXPECT_EQ(tokenizer.decode(std::span(raw.ids).last(static_cast<size_t>(raw.scored))), " three");
  const Question bare{.context = "", .continuations = {" three"}, .characters = {5}};
  EXPECT_EQ(requests_of(bare, Convention::lm_eval, tokenizer.facts(), *encoder).front().ids.front(),
            text::Gpt2Tokenizer::kEndOfText);
}

// As TemplateLM._encode_pair of lm-evaluation-harness; the space in front of the whole is not put inside.
TEST(Requests, SentencePieceTokenizesTheWhole) {
  const auto path = [](const char* name) {
    return (test::source_dir() / "tests/golden/text" / name).string();
  };
  for (const char* name : {"bpe.model", "bpe_bytes.model", "unigram.model", "unigram_bytes.model"}) {
    const auto tokenizer = text::open_tokenizer(path(name));
    const auto encoder = tokenizer->encoder();
    for (const Convention convention : {Convention::lm_eval, Convention::llm_c}) {
      const Question question{
          .context = "the data of", .continuations = {" a run", " words"}, .characters = {5, 5}};
      const auto requests = requests_of(question, convention, tokenizer->facts(), *encoder);
      const auto context = std::ssize(tokenizer->encode(question.context));
      for (size_t i = 0; i < 2; ++i) {
        EXPECT_EQ(requests[i].ids, tokenizer->encode(question.context + question.continuations[i])) << name;
        EXPECT_EQ(std::ssize(requests[i].ids) - requests[i].scored, context) << name;
      }
      const Question bare{.context = "", .continuations = {"a run"}, .characters = {5}};
      const Request alone = requests_of(bare, convention, tokenizer->facts(), *encoder).front();
      EXPECT_EQ(alone.ids.front(), tokenizer->end_of_text());
      EXPECT_EQ(std::ssize(alone.ids) - alone.scored, 1);
      // Nothing is left of a space at the end where spaces are joined; a token is scored all the same.
      const Question nothing{.context = "a run", .continuations = {" "}, .characters = {0}};
      EXPECT_GE(requests_of(nothing, convention, tokenizer->facts(), *encoder).front().scored, 1) << name;
    }
  }
}

}  // namespace
}  // namespace moe::tasks
