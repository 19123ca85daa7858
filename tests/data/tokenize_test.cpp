// SPDX-License-Identifier: MIT
#include "data/tokenize.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <map>

#include "base/terminal.h"
#include "data/order.h"
#include "data/support.h"
#include "data/token_file.h"

namespace moe::data {
namespace {

using testing::HasSubstr;

class Tokenize : public testing::Test {
 protected:
  TokenizeCounts run(const std::filesystem::path& to, const std::shared_ptr<const Source>& from) {
    options.folder = to;
    return tokenize(from, tokenizer(), config, options, terminal);
  }
  std::shared_ptr<NumberedSource> numbered() { return std::make_shared<NumberedSource>(40, 5, 400'000); }

  static std::map<std::string, std::string> files(const std::filesystem::path& folder) {
    std::map<std::string, std::string> result;
    for (const auto& entry : std::filesystem::directory_iterator(folder))
      result[entry.path().filename().string()] = slurp(entry.path());
    return result;
  }

  std::filesystem::path folder = fresh_folder();
  test::LogFile log;
  Terminal terminal{log.stream()};
  DataConfig config = [] {
    DataConfig c;
    c.validation_fraction = 0.1;
    c.shuffle_window_mb = 1;
    return c;
  }();
  TokenizeOptions options{{}, "t", 700, 3};
};

TEST_F(Tokenize, WritesTheHeldOutTextThenTheRest) {
  const TokenizeCounts counts = run(folder / "out", numbered());
  std::vector<uint16_t> held_out, rest;
  const auto held = Order(numbered(), config, 0, Part::validation).epoch(0).units;
  int64_t bytes = 0;
  for (int64_t i = 0; i < 200; ++i) {
    auto& ids = std::find(held.begin(), held.end(), i / 5) == held.end() ? rest : held_out;
    ids.push_back(text::Gpt2Tokenizer::kEndOfText);
    for (const int32_t id : encode(NumberedSource::text(i))) ids.push_back(static_cast<uint16_t>(id));
    bytes += static_cast<int64_t>(NumberedSource::text(i).size());
  }
  const auto written = files(folder / "out");
  EXPECT_EQ(written.at("t_val_000000.bin").substr(1024),
            std::string(reinterpret_cast<const char*>(held_out.data()), held_out.size() * 2));
  std::string joined;
  const auto shards = static_cast<int64_t>((rest.size() + 699) / 700);
  for (int64_t i = 1; i <= shards; ++i) {
    const std::string shard = written.at("t_train_00000" + std::to_string(i) + ".bin").substr(1024);
    EXPECT_TRUE(shard.size() == 1400 || i == shards);
    joined += shard;
  }
  EXPECT_EQ(joined, std::string(reinterpret_cast<const char*>(rest.data()), rest.size() * 2));
  EXPECT_EQ(written.size(), static_cast<size_t>(shards) + 2);  // and the state
  EXPECT_EQ(counts.documents, 200);
  EXPECT_EQ(counts.tokens, static_cast<int64_t>(rest.size() + held_out.size()));
  EXPECT_EQ(counts.bytes, bytes);
  EXPECT_EQ(counts.shards, shards + 1);
}

TEST_F(Tokenize, GoesOnAfterAnInterruption) {
  const TokenizeCounts whole = run(folder / "whole", numbered());
  for (int64_t unit = 0; unit < 40; unit += 7) {
    const auto out = folder / std::to_string(unit);
    const auto bad = numbered();
    bad->bad_unit = unit;
    EXPECT_THAT(user_error_of([&] { run(out, bad); }), HasSubstr("bad data"));
    const TokenizeCounts counts = run(out, numbered());
    EXPECT_EQ(counts.tokens, whole.tokens);
    EXPECT_EQ(counts.documents, whole.documents);
    EXPECT_EQ(counts.bytes, whole.bytes);
    ASSERT_EQ(files(out), files(folder / "whole")) << unit;
  }
}

TEST_F(Tokenize, AFinishedCallIsNotRepeated) {
  const TokenizeCounts first = run(folder / "out", numbered());
  const auto bad = numbered();
  bad->bad_unit = 0;
  EXPECT_EQ(run(folder / "out", bad).tokens, first.tokens);
}

TEST_F(Tokenize, AShardThatIsGoneOrCutIsMadeAgain) {
  const TokenizeCounts whole = run(folder / "whole", numbered());
  const auto expected = files(folder / "whole");
  ASSERT_GT(whole.shards, 4);
  for (const char* name : {"t_val_000000.bin", "t_train_000001.bin", "t_train_000003.bin"}) {
    for (const bool cut : {false, true}) {
      run(folder / "out", numbered());
      if (cut)
        std::filesystem::resize_file(folder / "out" / name, 1500);
      else
        std::filesystem::remove(folder / "out" / name);
      const TokenizeCounts counts = run(folder / "out", numbered());
      EXPECT_EQ(files(folder / "out"), expected) << name;
      EXPECT_EQ(counts.tokens, whole.tokens);
      EXPECT_EQ(counts.shards, whole.shards);
      EXPECT_THAT(log.text(), HasSubstr(std::string(name) + ": missing or damaged; going on from there"));
    }
  }
  // Whole, but of another call.
  std::filesystem::copy_file(folder / "out/t_val_000000.bin", folder / "out/t_train_000002.bin",
                             std::filesystem::copy_options::overwrite_existing);
  run(folder / "out", numbered());
  EXPECT_EQ(files(folder / "out"), expected);
}

TEST_F(Tokenize, AStateOfBeforeIsCheckedToo) {
  run(folder / "out", numbered());
  const auto expected = files(folder / "out");
  const auto forget = [&] {  // earlier versions did not note where shards begin
    auto state = nlohmann::json::parse(slurp(folder / "out/t_state.json"));
    state.erase("begun");
    spill(folder / "out/t_state.json", state.dump(2) + "\n");
  };
  forget();
  run(folder / "out", numbered());
  EXPECT_EQ(log.text().find("going on from there"), std::string::npos);
  std::filesystem::remove(folder / "out/t_train_000002.bin");
  run(folder / "out", numbered());
  EXPECT_EQ(files(folder / "out"), expected);
}

TEST_F(Tokenize, BytesAreThoseOfTheSource) {
  config.validation_fraction = 0;
  spill(folder / "latin1.txt", "caf\xE9 na\xEFve\n");
  const TokenizeCounts counts =
      run(folder / "out", open_source({(folder / "latin1.txt").string()}, config, terminal));
  EXPECT_EQ(counts.bytes, 11);
  EXPECT_EQ(counts.replaced, 2);
}

TEST_F(Tokenize, RefusesOtherArguments) {
  run(folder / "out", numbered());
  options.shard_tokens = 701;
  EXPECT_THAT(user_error_of([&] { run(folder / "out", numbered()); }),
              HasSubstr("t_state.json: expected the settings of this call"));
  options.shard_tokens = 0;
  EXPECT_THAT(user_error_of([&] { run(folder / "other", numbered()); }), HasSubstr("tokens per shard"));
  spill(folder / "bad/t_state.json", "{");
  options.shard_tokens = 700;
  EXPECT_THAT(user_error_of([&] { run(folder / "bad", numbered()); }),
              HasSubstr("t_state.json: expected JSON"));
}

TEST_F(Tokenize, WithoutHeldOutTextThereIsNoShardZero) {
  config.validation_fraction = 0;
  run(folder / "out", numbered());
  EXPECT_FALSE(std::filesystem::exists(folder / "out/t_val_000000.bin"));
  EXPECT_TRUE(std::filesystem::exists(folder / "out/t_train_000001.bin"));
}

TEST_F(Tokenize, TheShardsReadBackAsASource) {
  config.validation_fraction = 0;
  options.shard_tokens = 1 << 20;
  run(folder / "out", numbered());
  const auto source = open_source({(folder / "out").string()}, config, terminal);
  Documents documents;
  for (int64_t unit = 0; unit < source->units(); ++unit) source->read(unit, documents);
  ASSERT_EQ(documents.size(), 200);
  for (int64_t i = 0; i < 200; ++i) {
    std::string text;
    for (const text::TokenId id : documents.ids(i)) text += tokenizer().bytes(id);
    EXPECT_EQ(text, NumberedSource::text(i));
  }
}

}  // namespace
}  // namespace moe::data
