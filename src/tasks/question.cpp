// SPDX-License-Identifier: MIT
#include "tasks/question.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tasks/clean_text.h"

namespace moe {
namespace {

using Json = nlohmann::json;

// The fields of one item, each error with its name.
class Item {
 public:
  Item(std::string where, const Json& json) : where_(std::move(where)), json_(json) {}

  [[noreturn]] void refuse(const std::string& expected, const std::string& found) const {
    throw UserError(where_, expected, found, "docs/evaluation.md shows an item of each task");
  }
  bool has(const char* name) const { return json_.contains(name); }
  const Json& at(const char* name) const {
    if (!json_.is_object()) refuse("an object", json_.type_name());
    if (!has(name)) refuse(fmt::format("a field \"{}\"", name), "none");
    return json_.at(name);
  }
  std::string text(const char* name) const {
    if (!at(name).is_string()) refuse(fmt::format("text in \"{}\"", name), at(name).type_name());
    return at(name).get<std::string>();
  }
  std::vector<std::string> texts(const char* name) const {
    const Json& list = at(name);
    const auto is_text = [](const Json& value) { return value.is_string(); };
    if (!list.is_array() || list.empty() || !std::all_of(list.begin(), list.end(), is_text))
      refuse(fmt::format("a list of texts in \"{}\"", name), list.type_name());
    return list.get<std::vector<std::string>>();
  }
  // A number below `count`, as a number or in digits.
  int64_t label(const char* name, size_t count) const {
    const Json& value = at(name);
    int64_t number = -1;
    if (value.is_number_integer()) number = value.get<int64_t>();
    if (value.is_string() && value.get_ref<const std::string&>().size() == 1)
      number = value.get_ref<const std::string&>()[0] - '0';
    if (number < 0 || number >= static_cast<int64_t>(count))
      refuse(fmt::format("a number below {} in \"{}\"", count, name),
             value.is_string() ? "another text" : "another");
    return number;
  }
  Item inside(const char* name) const { return {where_ + ": " + name, at(name)}; }
  const std::string& where() const { return where_; }

 private:
  std::string where_;
  const Json& json_;
};

void add(Question& question, const std::string& continuation) {
  question.continuations.push_back(" " + continuation);
  question.characters.push_back(code_points(continuation));
}

Question hellaswag(const Item& item, Convention convention) {
  Question question;
  const auto endings = item.texts("endings");
  question.gold = item.label("label", endings.size());
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

Question lambada(const Item& item) {
  const std::string text = item.text("text");
  const size_t space = text.rfind(' ');
  if (space == std::string::npos) item.refuse("a text of several words", "one word");
  Question question;
  question.context = text.substr(0, space);
  add(question, text.substr(space + 1));
  return question;
}

// The hub's copy: question a text, choices {text: [], label: []}. The authors': question {stem, choices: [{text, label}]}.
Question arc(const Item& item) {
  Question question;
  std::vector<std::string> labels;
  const bool nested = item.at("question").is_object();
  question.context = nested ? item.inside("question").text("stem") : item.text("question");
  if (nested) {
    const Item inner = item.inside("question");
    const Json& choices = inner.at("choices");
    if (!choices.is_array()) inner.refuse("a list \"choices\"", choices.type_name());
    for (const Json& choice : choices) {
      const Item one(inner.where() + ": choices", choice);
      add(question, one.text("text"));
      labels.push_back(one.text("label"));
    }
  } else {
    const Item choices = item.inside("choices");
    for (const std::string& text : choices.texts("text")) add(question, text);
    labels = choices.texts("label");
  }
  if (labels.size() != question.continuations.size())
    item.refuse("a label for each choice", "another number");
  const auto gold = std::find(labels.begin(), labels.end(), item.text("answerKey"));
  if (gold == labels.end()) item.refuse("an answerKey among the labels", item.text("answerKey"));
  question.gold = gold - labels.begin();
  question.context = "Question: " + question.context + "\nAnswer:";
  return question;
}

Question piqa(const Item& item) {
  Question question;
  question.context = "Question: " + item.text("goal") + "\nAnswer:";
  add(question, item.text("sol1"));
  add(question, item.text("sol2"));
  question.gold = item.label("label", 2);
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

Question parse_question(Task task, Convention convention, const std::string& where, std::string_view json) {
  const Json parsed = Json::parse(json, nullptr, false);
  const Item item(where, parsed);
  if (!parsed.is_object())
    item.refuse("a JSON object", parsed.is_discarded() ? "no JSON" : parsed.type_name());
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

std::vector<Request> requests_of(const Question& question, Convention convention, const Tokenizer& tokenizer,
                                 Tokenizer::Encoder& encoder) {
  std::vector<Request> requests;
  for (std::string continuation : question.continuations) {
    std::string context = question.context;
    Request request;
    if (convention == Convention::lm_eval) {
      // Spaces at the end of the context belong to what follows; the whole is tokenised, then cut where the context's
      // own tokens end.
      const size_t end = strip_right(context).size();
      continuation.insert(0, context, end, std::string::npos);
      context.resize(end);
      std::vector<int32_t> alone;
      tokenizer.encode(context, alone, encoder);
      tokenizer.encode(context + continuation, request.ids, encoder);
      request.scored = std::ssize(request.ids) - std::ssize(alone);
    } else {
      tokenizer.encode(context, request.ids, encoder);
      const auto before = std::ssize(request.ids);
      tokenizer.encode(continuation, request.ids, encoder);
      request.scored = std::ssize(request.ids) - before;
    }
    if (std::ssize(request.ids) == request.scored)
      request.ids.insert(request.ids.begin(), Tokenizer::kEndOfText);
    requests.push_back(std::move(request));
  }
  return requests;
}

}  // namespace moe
