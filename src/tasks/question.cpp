// SPDX-License-Identifier: MIT
#include "tasks/question.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "tasks/clean_text.h"

namespace moe::tasks {
namespace {

constexpr const char* kShown = "docs/evaluation.md shows an item of each task";

std::vector<std::string> texts(const JsonFields& item, const char* name) {
  std::vector<std::string> texts;
  for (const Json& value : item.list(name)) {
    if (!value.is_string()) item.refuse(name, "a list of texts", quote(value));
    texts.push_back(value.get<std::string>());
  }
  if (texts.empty()) item.refuse(name, "a list of texts", "none");
  return texts;
}

// A number below `count`, as a number or in digits.
int64_t label(const JsonFields& item, const char* name, size_t count) {
  const Json& value = item.at(name);
  int64_t number = -1;
  if (value.is_number_integer()) number = value.get<int64_t>();
  if (value.is_string() && value.get_ref<const std::string&>().size() == 1)
    number = value.get_ref<const std::string&>()[0] - '0';
  if (number < 0 || number >= static_cast<int64_t>(count))
    item.refuse(name, fmt::format("a number below {}", count), quote(value));
  return number;
}

void add(Question& question, const std::string& continuation) {
  question.continuations.push_back(" " + continuation);
  question.characters.push_back(code_points(continuation));
}

Question hellaswag(const JsonFields& item, Convention convention) {
  Question question;
  const auto endings = texts(item, "endings");
  question.gold = label(item, "label", endings.size());
  if (convention == Convention::llm_c) {
    question.context = item.text("ctx");
    for (const std::string& ending : endings) add(question, ending);
  } else {
    question.context = clean_wikihow(item.text("activity_label") + ": " + item.text("ctx_a") + " " +
                                     capitalized(item.text("ctx_b")));
    for (const std::string& ending : endings) add(question, clean_wikihow(ending));
  }
  return question;
}

Question lambada(const JsonFields& item) {
  const std::string text = item.text("text");
  const size_t space = text.rfind(' ');
  if (space == std::string::npos) item.refuse("text", "a text of several words", "one word");
  Question question;
  question.context = text.substr(0, space);
  add(question, text.substr(space + 1));
  return question;
}

// The hub's copy: question a text, choices {text: [], label: []}. The authors': question {stem, choices:
// [{text, label}]}.
Question arc(const JsonFields& item) {
  Question question;
  std::vector<std::string> labels;
  const bool nested = item.at("question").is_object();
  question.context = nested ? item.inside("question").text("stem") : item.text("question");
  if (nested) {
    const JsonFields inner = item.inside("question");
    for (const Json& choice : inner.list("choices")) {
      const JsonFields one(inner.where() + ": choices", choice, kShown);
      add(question, one.text("text"));
      labels.push_back(one.text("label"));
    }
  } else {
    const JsonFields choices = item.inside("choices");
    for (const std::string& text : texts(choices, "text")) add(question, text);
    labels = texts(choices, "label");
  }
  if (labels.size() != question.continuations.size())
    item.refuse("choices", "a label for each", "another number");
  const auto gold = std::find(labels.begin(), labels.end(), item.text("answerKey"));
  if (gold == labels.end()) item.refuse("answerKey", "one of the labels", quote(item.at("answerKey")));
  question.gold = gold - labels.begin();
  question.context = "Question: " + question.context + "\nAnswer:";
  return question;
}

Question piqa(const JsonFields& item) {
  Question question;
  question.context = "Question: " + item.text("goal") + "\nAnswer:";
  add(question, item.text("sol1"));
  add(question, item.text("sol2"));
  question.gold = label(item, "label", 2);
  return question;
}

}  // namespace

std::string_view name_of(Task task) {
  constexpr std::string_view names[] = {"hellaswag", "lambada", "arc_easy", "piqa"};
  return names[static_cast<size_t>(task)];
}

std::string_view name_of(Convention convention) {
  return convention == Convention::lm_eval ? "lm_eval" : "llm.c";
}

Task parse_task(const std::string& name) {
  for (const Task task : {Task::hellaswag, Task::lambada, Task::arc_easy, Task::piqa})
    if (name_of(task) == name) return task;
  throw UserError("task", "hellaswag, lambada, arc_easy or piqa", "\"" + name + "\"");
}

std::vector<Convention> conventions_of(Task task) {
  if (task == Task::hellaswag) return {Convention::lm_eval, Convention::llm_c};
  return {Convention::lm_eval};
}

std::vector<std::string> fields_of(Task task) {
  switch (task) {
    case Task::hellaswag:
      return {"activity_label", "ctx", "ctx_a", "ctx_b", "endings", "label"};
    case Task::lambada:
      return {"text"};
    case Task::arc_easy:
      return {"question", "choices", "answerKey"};
    case Task::piqa:
      return {"goal", "sol1", "sol2", "label"};
  }
  CHECK(false, "a task without fields");
}

Question parse_question(Task task, Convention convention, const std::string& where, std::string_view json) {
  const Json parsed = parse_json(where, json, kShown);
  const JsonFields item(where, parsed, kShown);
  switch (task) {
    case Task::hellaswag:
      return hellaswag(item, convention);
    case Task::lambada:
      return lambada(item);
    case Task::arc_easy:
      return arc(item);
    case Task::piqa:
      return piqa(item);
  }
  CHECK(false, "a task without a reader");
}

std::vector<Request> requests_of(const Question& question, Convention convention,
                                 const text::TokenizerFacts& facts, text::Tokenizer::Encoder& encoder) {
  std::vector<Request> requests;
  for (std::string continuation : question.continuations) {
    std::string context = question.context;
    if (convention == Convention::lm_eval) {  // spaces at the end of the context belong to what follows
      const size_t end = strip_right(context).size();
      continuation.insert(0, context, end, std::string::npos);
      context.resize(end);
    }
    Request request;
    std::vector<text::TokenId> alone;
    encoder.encode(context, alone);
    if (convention == Convention::lm_eval || facts.space_in_front) {
      encoder.encode(context + continuation, request.ids);
    } else {
      request.ids = alone;
      encoder.encode(continuation, request.ids);
    }
    const auto all = std::ssize(request.ids);
    // What follows may join the context's tokens to fewer: the last is scored at least.
    request.scored = std::max(all - std::ssize(alone), std::min<int64_t>(all, 1));
    if (all == request.scored) request.ids.insert(request.ids.begin(), facts.end_of_text);
    requests.push_back(std::move(request));
  }
  return requests;
}

}  // namespace moe::tasks
