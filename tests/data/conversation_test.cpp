// SPDX-License-Identifier: MIT
// Conversations through the pipeline: forms, what is learned, rows, cutting, counts, resume, ranks.
#include <gmock/gmock.h>

#include <algorithm>
#include <map>

#include "base/terminal.h"
#include "data/conversation_source.h"
#include "data/loader.h"
#include "data/source_bytes.h"
#include "data/support.h"

namespace moe::data {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr text::TokenId kStart = 50257, kStop = 50258;  // <|im_start|>, <|im_end|>

DataConfig chat_config(int64_t row_length = 0) {
  DataConfig config;
  config.conversations = ConversationFormat::automatic;
  config.packing = Packing::best_fit;
  config.validation_fraction = 0;
  config.row_length = row_length;
  return config;
}

Example example_of(const std::string& json, ConversationFormat format = ConversationFormat::automatic) {
  return read_example(parse_ordered_json("test", json), format);
}

std::string messages_of(const std::string& json) {
  return example_of(json).conversation.messages.dump();
}

std::string refusal_of(const std::string& json) {
  try {
    example_of(json);
  } catch (const BadExample& bad) {
    return bad.row.expected + ", found " + bad.row.found;
  }
  return "";
}

TEST(Conversation, FormsBecomeMessages) {
  const std::string expected =
      R"([{"role":"user","content":"Hi\n\nthere"},{"role":"assistant","content":"Yes"}])";
  EXPECT_EQ(messages_of(R"({"messages": [{"role": "user", "content": "Hi\n\nthere"},
                                         {"role": "assistant", "content": "Yes"}]})"),
            expected);
  EXPECT_EQ(messages_of(R"({"conversations": [{"from": "human", "value": "Hi\n\nthere"},
                                              {"from": "gpt", "value": "Yes"}]})"),
            expected);
  EXPECT_EQ(messages_of(R"({"instruction": "Hi", "input": "there", "output": "Yes"})"), expected);
  EXPECT_EQ(messages_of(R"({"prompt": [{"role": "user", "content": [{"type": "text", "text": "Hi\n\n"},
                                                                    {"type": "text", "text": "there"}]}],
                            "completion": [{"role": "assistant", "content": "Yes"}]})"),
            expected);
  EXPECT_EQ(messages_of(R"({"messages": "[{\"role\": \"user\", \"content\": \"Hi\"}]"})"),
            R"([{"role":"user","content":"Hi"}])");
  EXPECT_EQ(messages_of(R"({"instruction": "Hi", "output": "Yes", "system": "S"})"),
            R"([{"role":"system","content":"S"},{"role":"user","content":"Hi"},)"
            R"({"role":"assistant","content":"Yes"}])");
  const Example plain = example_of(R"({"prompt": "The sky is", "completion": " blue"})");
  EXPECT_TRUE(plain.plain);
  EXPECT_EQ(plain.completion, " blue");
}

TEST(Conversation, WhatIsNoneIsNamed) {
  EXPECT_THAT(refusal_of(R"({"text": "a"})"),
              AllOf(HasSubstr("a conversation"), HasSubstr("the fields text")));
  EXPECT_THAT(refusal_of(R"([1])"), HasSubstr("a JSON object"));
  EXPECT_THAT(refusal_of(R"({"messages": [1]})"), HasSubstr("messages that are objects"));
  EXPECT_THAT(refusal_of(R"({"messages": [{"content": "a"}]})"), HasSubstr("\"role\""));
  EXPECT_THAT(refusal_of(R"({"messages": [{"role": "user", "content": 3}]})"), HasSubstr("a content"));
  EXPECT_THAT(refusal_of(R"({"messages": [{"role": "user", "content": [{"type": "image"}]}]})"),
              HasSubstr("parts of a content that are texts"));
  EXPECT_THAT(refusal_of(R"({"instruction": "a", "output": 1})"), HasSubstr("text in field \"output\""));
}

// The text of what is learned, and of what is given.
std::pair<std::string, std::string> halves(const ConversationEncoder& encoder, const std::string& json) {
  const auto threads = encoder.chat().tokenizer().encoder();
  std::pair<std::vector<text::TokenId>, std::vector<text::TokenId>> ids;
  for (const text::TokenId id : encoder.encode(example_of(json), *threads))
    (is_given(id) ? ids.second : ids.first).push_back(id_of(id));
  return {encoder.chat().decode(ids.first, true), encoder.chat().decode(ids.second, true)};
}

constexpr const char* kTwo = R"({"messages": [{"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Yes"}, {"role": "user", "content": "And?"},
    {"role": "assistant", "content": "No"}]})";

TEST(ConversationEncoder, LearnsAnswersAndTheirEnds) {
  Terminal terminal;
  const ConversationEncoder answers(chat_config(), terminal);
  const auto [learned, given] = halves(answers, kTwo);
  EXPECT_EQ(learned, "Yes<|im_end|>No<|im_end|>");
  EXPECT_EQ(given,
            "<|endoftext|><|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n\n<|im_start|>user\n"
            "And?<|im_end|>\n<|im_start|>assistant\n\n");
  const auto plain = halves(answers, R"({"prompt": "The sky is", "completion": " blue"})");
  EXPECT_EQ(plain.first, " blue<|endoftext|>");
  DataConfig config = chat_config();
  config.learned = Learned::all;
  const ConversationEncoder all(config, terminal);
  EXPECT_EQ(halves(all, kTwo).second, "<|endoftext|>");  // nothing is in front of it
}

TEST(ConversationEncoder, LongOnesLoseTheirLastTurns) {
  Terminal terminal;
  const ConversationEncoder whole(chat_config(), terminal);
  const auto length = [&](const char* json) {
    return std::ssize(whole.encode(example_of(json), *whole.chat().tokenizer().encoder()));
  };
  const int64_t two = length(kTwo);
  const ConversationEncoder exact(chat_config(two), terminal), shorter(chat_config(two - 1), terminal),
      tiny(chat_config(5), terminal);
  EXPECT_EQ(halves(exact, kTwo).first, "Yes<|im_end|>No<|im_end|>");
  EXPECT_EQ(exact.counts().cut, 0);
  EXPECT_EQ(halves(shorter, kTwo).first, "Yes<|im_end|>");
  EXPECT_EQ(shorter.counts().cut, 1);
  EXPECT_EQ(shorter.counts().turns_cut, 2);
  EXPECT_EQ(halves(tiny, kTwo).first, "");
  EXPECT_EQ(tiny.counts().too_long, 1);
  EXPECT_EQ(halves(tiny, R"({"messages": [{"role": "user", "content": ""}]})").first, "");
  EXPECT_THAT(words_of(shorter.counts()),
              "of 1 conversations 1 were longer than a row and lost 2 turns at their ends");
  const ConversationEncoder silent(chat_config(), terminal);
  halves(silent, R"({"messages": [{"role": "user", "content": "Hi"}]})");
  EXPECT_EQ(silent.counts().without_answer, 1);
}

// Fifty conversations of different lengths, each with its number.
std::filesystem::path write_conversations(const std::filesystem::path& folder) {
  std::string lines;
  for (int i = 0; i < 50; ++i) {
    std::string answer = "number " + std::to_string(i);
    for (int k = 0; k < i % 7; ++k) answer += " and more";
    lines += Json{{"instruction", "Which?"}, {"output", answer}}.dump() + "\n";
  }
  spill(folder / "chat.jsonl", lines);
  return folder / "chat.jsonl";
}

std::vector<Batch> batches(const DataConfig& config, int64_t rows, const Cursor& start, int64_t count,
                           Shard shard = {}) {
  Terminal terminal;
  const auto source = open_source(config.source, config, terminal);
  const auto tokenizer = config.tokenizer.open();
  Loader loader(source, *tokenizer, config, 7, rows, config.row_length, start, Part::train, shard);
  std::vector<Batch> all;
  for (int64_t i = 0; i < count; ++i) all.push_back(*loader.next());
  return all;
}

// Each learned stretch of a row and what is in front of it: how often.
std::map<std::string, int> answers_in(const std::vector<Batch>& all) {
  const text::Gpt2Tokenizer tokenizer;
  std::map<std::string, int> found;
  for (const Batch& batch : all) {
    std::string answer;
    for (size_t t = 0; t < batch.target.size(); ++t) {
      if (batch.target[t] >= 0 && batch.target[t] != kStop) answer += tokenizer.bytes(batch.target[t]);
      if (batch.target[t] == kStop) ++found[std::exchange(answer, "")];
    }
    EXPECT_EQ(answer, "");
  }
  return found;
}

TEST(Conversations, ArePackedWholeAndLearnTheirAnswers) {
  DataConfig config = chat_config(64);
  config.source = {write_conversations(fresh_folder()).string()};
  const auto all = batches(config, 2, {}, 12);
  int64_t documents = 0;
  for (const Batch& batch : all) {
    int64_t targets = 0;
    for (size_t t = 0; t < batch.target.size(); ++t) {
      if (batch.target[t] >= 0) ++targets;
      const bool begins = batch.first[t] >= 0 && batch.first[t] == static_cast<int32_t>(t % 64);
      EXPECT_EQ(begins, batch.input[t] == text::Gpt2Tokenizer::kEndOfText && batch.first[t] >= 0);
      documents += begins ? 1 : 0;
    }
    EXPECT_EQ(batch.targets, targets);
    EXPECT_GT(targets, 0);
  }
  EXPECT_GT(documents, 12 * 2);  // more than one a row
  const auto found = answers_in(all);
  for (const auto& [answer, count] : found) EXPECT_THAT(answer, HasSubstr("number "));
}

TEST(Conversations, EachComesOnceAnEpochOnAnyRanks) {
  DataConfig config = chat_config(64);
  config.source = {write_conversations(fresh_folder()).string()};
  config.packing = Packing::pad;  // a conversation a row
  config.streams = 2;
  std::map<std::string, int> alone = answers_in(batches(config, 2, {}, 25));
  EXPECT_EQ(alone.size(), 50u);
  for (const auto& [answer, count] : alone) EXPECT_EQ(count, 1) << answer;
  std::map<std::string, int> together;
  for (const int rank : {0, 1})
    for (const auto& [answer, count] : answers_in(batches(config, 1, {}, 25, {.rank = rank, .world = 2})))
      together[answer] += count;
  EXPECT_EQ(together, alone);
}

TEST(Conversations, GoOnWhereTheyStopped) {
  DataConfig config = chat_config(64);
  config.source = {write_conversations(fresh_folder()).string()};
  const auto all = batches(config, 2, {}, 10);
  const auto rest = batches(config, 2, all[3].after, 6);
  for (size_t i = 0; i < rest.size(); ++i) {
    EXPECT_EQ(rest[i].input, all[i + 4].input);
    EXPECT_EQ(rest[i].target, all[i + 4].target);
    EXPECT_EQ(rest[i].after, all[i + 4].after);
  }
}

TEST(Conversations, AreReadFromParquet) {
  const DataConfig config = chat_config(64);
  Terminal terminal;
  const auto source = open_source({golden("../chat/messages.parquet").string()}, config, terminal);
  ASSERT_EQ(source->units(), 2);
  Documents documents;
  source->read(0, documents);
  ASSERT_EQ(documents.size(), 2);
  const auto chat = config.open_chat();
  std::vector<text::TokenId> ids;
  for (const text::TokenId id : documents.ids(1)) ids.push_back(id_of(id));
  EXPECT_EQ(chat->decode(ids, true),
            "<|endoftext|><|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nAnd a dog?<|im_end|>\n"
            "<|im_start|>assistant\nAnother one.<|im_end|>\n");
  EXPECT_EQ(std::count_if(documents.ids(1).begin(), documents.ids(1).end(),
                          [](text::TokenId id) { return !is_given(id); }),
            4);  // "Another", " one", ".", the end
}

TEST(Conversations, BadOnesStopOrAreLeftOut) {
  const auto folder = fresh_folder();
  spill(folder / "chat.jsonl",
        "{\"instruction\": \"a\", \"output\": \"b\"}\n"
        "{\"messages\": [{\"role\": \"assistant\", \"content\": \"first\"}]}\n"
        "{\"messages\": 3}\n"
        "no JSON\n"
        "{\"instruction\": \"c\", \"output\": \"d\"}\n");
  DataConfig config = chat_config(64);
  config.chat_template = "mistral";
  Terminal terminal;
  const auto read = [&] {
    const auto source = open_source({(folder / "chat.jsonl").string()}, config, terminal);
    Documents documents;
    source->read(0, documents);
    return documents.size();
  };
  EXPECT_THAT(user_error_of(read), AllOf(HasSubstr("chat.jsonl, line 2"), HasSubstr("roles must alternate")));
  config.bad_rows = BadRows::skip;
  EXPECT_EQ(read(), 2);
  EXPECT_THAT(user_error_of([&] {
                DataConfig plain = config;
                spill(folder / "a.txt", "text");
                open_source({(folder / "a.txt").string()}, plain, terminal);
              }),
              HasSubstr("JSON lines or Parquet"));
}

TEST(Conversations, AreHeldOutAsWholes) {
  Documents documents;
  for (int i = 0; i < 10; ++i) documents.add_conversation(std::vector<text::TokenId>{kStart | kGiven, 1, 2});
  Documents tail = documents;
  documents.keep_part(0.3, false);
  tail.keep_part(0.3, true);
  EXPECT_EQ(documents.size(), 7);
  EXPECT_EQ(tail.size(), 3);
  for (int64_t i = 0; i < tail.size(); ++i) EXPECT_EQ(tail.ids(i).size(), 3u);
}

}  // namespace
}  // namespace moe::data
