// SPDX-License-Identifier: MIT
// Which files a list of paths stands for, and what becomes of each.
#include <gmock/gmock.h>

#include <cstdlib>
#include <optional>

#include "base/terminal.h"
#include "data/support.h"

namespace moe {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class OpenSource : public testing::Test {
 protected:
  std::shared_ptr<const Source> open(const std::vector<std::string>& paths) {
    return open_source(paths, config, terminal);
  }
  std::string refusal(const std::vector<std::string>& paths) {
    return user_error_of([&] { open(paths); });
  }

  std::filesystem::path folder = fresh_folder();
  test::LogFile log;
  Terminal terminal{log.stream()};
  DataConfig config = [this] {
    DataConfig c;
    c.cache_dir = (folder / ".cache").string();
    return c;
  }();
};

TEST_F(OpenSource, TakesFoldersInOrderOfPath) {
  spill(folder / "b.txt", "b");
  spill(folder / "a/z.md", "a/z");
  spill(folder / "a/c.jsonl", "{\"text\":\"a/c\"}\n");
  spill(folder / "a/.hidden.txt", "hidden");
  spill(folder / ".git/x.txt", "hidden");
  spill(folder / "notes.pdf", "other");
  EXPECT_THAT(all_texts(*open({folder.string()})), ElementsAre("a/c", "a/z\n", "b\n"));
  EXPECT_THAT(log.text(), HasSubstr("1 files left out, such as notes.pdf"));
  EXPECT_THAT(all_texts(*open({(folder / "b.txt").string(), (folder / "a").string()})),
              ElementsAre("b\n", "a/c", "a/z\n"));
}

TEST_F(OpenSource, TakesPatterns) {
  for (const char* name : {"t_train_2.txt", "t_train_1.txt", "t_val_0.txt"}) spill(folder / name, name);
  EXPECT_THAT(all_texts(*open({(folder / "t_train_*.txt").string()})),
              ElementsAre("t_train_1.txt\n", "t_train_2.txt\n"));
  EXPECT_THAT(refusal({(folder / "x*.txt").string()}),
              HasSubstr("x*.txt: expected files that match, found none"));
}

TEST_F(OpenSource, TheFormatSettingChoosesFiles) {
  spill(folder / "a.py", "import a");
  spill(folder / "b.jsonl", "{\"text\":\"b\"}");
  spill(folder / "c.json", "{\"text\":\"c\"}");
  config.format = "text";
  EXPECT_EQ(all_texts(*open({folder.string()})).size(), 3u);
  config.format = "jsonl";
  EXPECT_THAT(all_texts(*open({folder.string()})), ElementsAre("b"));
  EXPECT_THAT(all_texts(*open({(folder / "c.json").string()})), ElementsAre("c"));
  config.format = "auto";
  EXPECT_THAT(refusal({(folder / "a.py").string()}),
              AllOf(HasSubstr("found \".py\""), HasSubstr("set data.format")));
}

TEST_F(OpenSource, AnEndingWinsOverTheFormatAndSaysSo) {
  spill(folder / "a.jsonl", "{\"text\":\"caf\\u00e9\"}");
  spill(folder / "b.py", "import b");
  config.format = "text";
  EXPECT_THAT(all_texts(*open({(folder / "a.jsonl").string()})), ElementsAre("caf\u00e9"));
  EXPECT_THAT(log.text(), AllOf(HasSubstr("1 file's ending says not data.format"), HasSubstr("a.jsonl")));
  EXPECT_THAT(all_texts(*open({folder.string()})), ElementsAre("caf\u00e9", "import b\n"));
  // .txt says little: there the setting counts.
  spill(folder / "c.txt", "{\"text\":\"c\"}");
  config.format = "jsonl";
  EXPECT_THAT(all_texts(*open({(folder / "c.txt").string()})), ElementsAre("c"));
  // A run that version 0.1 began on braces goes on.
  config.format = "text";
  config.rules = 1;
  EXPECT_THAT(all_texts(*open({(folder / "a.jsonl").string()})), ElementsAre("{\"text\":\"caf\\u00e9\"}\n"));
}

TEST_F(OpenSource, AsksForTheCacheOnlyWhenAFileIsCompressed) {
  spill(folder / "a.txt", "one");
  config.cache_dir = "";
  const char* const names[] = {"HOME", "XDG_CACHE_HOME"};
  std::vector<std::optional<std::string>> before;
  for (const char* name : names) {
    before.emplace_back(std::getenv(name) ? std::optional<std::string>(std::getenv(name)) : std::nullopt);
    unsetenv(name);
  }
  EXPECT_THAT(all_texts(*open({(folder / "a.txt").string()})), ElementsAre("one\n"));
  EXPECT_THAT(refusal({golden("members.txt.gz").string()}), HasSubstr("set data.cache_dir"));
  for (size_t i = 0; i < before.size(); ++i)
    if (before[i]) setenv(names[i], before[i]->c_str(), 1);
}

TEST_F(OpenSource, DecodesCompressedFilesOnce) {
  config.document_split = "file";
  const std::string text = slurp(golden("text.txt"));
  for (const char* name : {"members.txt.gz", "frames.txt.zst", "dictzip.txt.dz"})
    EXPECT_THAT(all_texts(*open({golden(name).string()})),
                ElementsAre(text.substr(0, text.find_last_not_of(" \r\n") + 1) + "\n"))
        << name;
  open({golden("members.txt.gz").string()});
  const std::string words = log.text();
  EXPECT_EQ(words.find("decoding members.txt.gz"), words.rfind("decoding members.txt.gz"));
}

TEST_F(OpenSource, EveryFormatSideBySide) {
  for (const char* name : {"rows.jsonl", "tokens.bin", "large_string.parquet"})
    std::filesystem::copy_file(golden(name), folder / name);
  const auto source = open({folder.string()});
  Documents documents;
  for (int64_t unit = 0; unit < source->units(); ++unit) source->read(unit, documents);
  EXPECT_EQ(documents.size(), 2 * static_cast<int64_t>(golden_texts().size()) + 3);
}

TEST_F(OpenSource, CutsSmallTextsIntoMoreUnits) {
  config.document_split = "line";
  spill(folder / "small.txt", std::string(8192, 'a') + "\n");
  EXPECT_EQ(open({(folder / "small.txt").string()})->units(), 3);
  spill(folder / "medium.txt", std::string(1 << 20, 'a') + "\n");
  EXPECT_EQ(open({(folder / "medium.txt").string()})->units(), 65);
  config.unit_kb = 8;
  EXPECT_EQ(open({(folder / "medium.txt").string()})->units(), 129);
}

TEST_F(OpenSource, RefusesWhatGivesNothing) {
  EXPECT_THAT(refusal({}), HasSubstr("data.source"));
  EXPECT_THAT(refusal({(folder / "missing").string()}), HasSubstr("missing: expected a file or a folder"));
  EXPECT_THAT(refusal({folder.string()}), HasSubstr("found an empty folder"));
  spill(folder / "x.pdf", "x");
  EXPECT_THAT(refusal({folder.string()}), HasSubstr("found only others, such as x.pdf"));
  spill(folder / "empty.txt", "");
  EXPECT_THAT(refusal({(folder / "empty.txt").string()}), HasSubstr("found an empty file"));
  spill(folder / "nul.txt", std::string("a\0b", 3));
  EXPECT_THAT(refusal({(folder / "nul.txt").string()}), HasSubstr("zero byte"));
}

TEST_F(OpenSource, IdentityFollowsWhatIsRead) {
  spill(folder / "a.txt", "one\n\ntwo\n");
  const auto identity = [&] { return open({folder.string()})->identity(); };
  const std::string before = identity();
  EXPECT_EQ(identity(), before);
  config.document_split = "line";
  const std::string by_line = identity();
  EXPECT_NE(by_line, before);
  spill(folder / "b.txt", "three\n");
  EXPECT_NE(identity(), by_line);
}

TEST_F(OpenSource, AMixtureHasAShareForEachPlace) {
  spill(folder / "a/1.txt", "one");
  spill(folder / "a/2.txt", "two");
  spill(folder / "b.txt", "three");
  config.mixture = {"3 " + (folder / "a").string(), "1e0   " + (folder / "b.txt").string()};
  const auto source = open_training_source(config, terminal);
  EXPECT_THAT(all_texts(*source), ElementsAre("one\n", "two\n", "three\n"));
  const auto shares = source->shares();
  ASSERT_EQ(shares.size(), 2u);
  EXPECT_EQ(shares[0].end, 2);
  EXPECT_EQ(shares[1].begin, 2);
  EXPECT_EQ(shares[0].weight, 750'000);
  EXPECT_EQ(shares[1].weight, 250'000);
  const auto identity = source->identity();
  config.mixture[0].front() = '2';
  EXPECT_NE(open_training_source(config, terminal)->identity(), identity);
  for (const char* wrong : {"texts/", "0 texts/", "-1 texts/", "nan texts/", "0.5", "0.5 ", "2texts/"}) {
    config.mixture = {wrong};
    EXPECT_THAT(user_error_of([&] { open_training_source(config, terminal); }),
                AllOf(HasSubstr("data.mixture"), HasSubstr("WEIGHT PLACE")))
        << wrong;
  }
  config.mixture = {"1 a"};
  config.source = {"b"};
  EXPECT_THAT(user_error_of([&] { config.validate(); }), HasSubstr("a mixture or data.source"));
}

TEST_F(OpenSource, FiltersNeedColumns) {
  spill(folder / "a.txt", "one");
  spill(folder / "b.jsonl", "{\"text\": \"b\", \"n\": 3}");
  config.filters = {"n >= 3"};
  EXPECT_THAT(refusal({(folder / "a.txt").string()}),
              HasSubstr("data.filters: expected columns of Parquet or JSON lines"));
  EXPECT_THAT(all_texts(*open({(folder / "b.jsonl").string()})), ElementsAre("b"));
  config.source = {"b"};
  config.filters = {"n = 3"};
  EXPECT_THAT(user_error_of([&] { config.validate(); }), HasSubstr("COLUMN OPERATOR VALUE"));
}

}  // namespace
}  // namespace moe
