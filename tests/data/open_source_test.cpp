// SPDX-License-Identifier: MIT
// Which files a list of paths stands for, and what becomes of each.
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

#include <cstdlib>
#include <optional>

#include "base/terminal.h"
#include "data/opening.h"
#include "data/support.h"

namespace moe::data {
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

TEST_F(OpenSource, CardsAndLicencesOfAFolderAreLeftOut) {
  for (const char* name :
       {"README.md", "LICENSE", "license-mit.txt", "CITATION.cff", "dataset_infos.json", "NOTICE.txt"})
    spill(folder / name, "{\"not\": \"text\"}\n");
  spill(folder / "data/a.jsonl", "{\"text\":\"a\", \"n\": 1}\n");
  spill(folder / "data/meta.json", "{\"beside\": \"lines\"}\n");
  spill(folder / "licensed-texts.jsonl", "{\"text\":\"b\", \"n\": 2}\n");
  config.filters = {"n >= 1"};
  EXPECT_THAT(all_texts(*open({folder.string()})), ElementsAre("a", "b"));
  EXPECT_THAT(log.text(), AllOf(HasSubstr("6 cards or licences left out, such as CITATION.cff"),
                                HasSubstr("1 files left out, such as meta.json")));
  config.filters = {};
  EXPECT_THAT(all_texts(*open({(folder / "README.md").string()})), ElementsAre("{\"not\": \"text\"}\n"));
}

TEST_F(OpenSource, SplitsAreNotMixed) {
  const std::vector<std::string> names{"data/train-00000-of-00002.jsonl",
                                       "data/train-00001-of-00002.jsonl",
                                       "data/test-00000-of-00001.jsonl",
                                       "data/Validation-00000-of-00001.jsonl",
                                       "words/train/1.jsonl",
                                       "words/dev/1.jsonl",
                                       "latest-test.jsonl",
                                       "attested.jsonl"};
  for (const std::string& name : names) spill(folder / name, "{\"text\":\"" + name + "\"}\n");
  EXPECT_THAT(all_texts(*open({folder.string()})),
              testing::UnorderedElementsAre(names[0], names[1], names[4], names[6], names[7]));
  EXPECT_THAT(log.text(), HasSubstr("3 files of other splits than train left out, such as 1.jsonl"));
  EXPECT_THAT(all_texts(*open({(folder / "words/dev").string()})), ElementsAre(names[5]));
  EXPECT_EQ(all_texts(*open({(folder / "data/*.jsonl").string()})).size(), 4u);  // named one by one
}

// What a run of an earlier version has read, it goes on to read.
TEST_F(OpenSource, AsBeforeTakesWhatEarlierVersionsTook) {
  for (const char* name : {"README.md", "b.TXT", "train.txt", "test.txt"}) spill(folder / name, name);
  spill(folder / "c.json", "{\"text\": \"c\"}");
  EXPECT_THAT(all_texts(*open({folder.string()})), testing::Contains("b.TXT\n"));
  config.rules = 1;
  EXPECT_THAT(all_texts(*open({folder.string()})), ElementsAre("README.md\n", "test.txt\n", "train.txt\n"));
}

TEST_F(OpenSource, EndingsCountInAnyCase) {
  spill(folder / "a.JSONL", "{\"text\":\"a\"}\n");
  spill(folder / "b.Txt", "b");
  std::filesystem::copy_file(golden("members.txt.gz"), folder / "c.TXT.GZ");
  config.document_split = DocumentSplit::file;
  const auto found = all_texts(*open({folder.string()}));
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0], "a");
  EXPECT_EQ(found[1], "b\n");
}

TEST_F(OpenSource, JsonIsAListOrLines) {
  spill(folder / "list.json", "[\n {\"text\": \"one\"},\n {\"text\": \"two\"}\n]\n");
  spill(folder / "lines.json", "{\"text\": \"three\"}\n{\"text\": \"four\"}\n");
  EXPECT_THAT(all_texts(*open({folder.string()})), ElementsAre("three", "four", "one", "two"));
  EXPECT_THAT(all_texts(*open({golden("list.json.gz").string()})), ElementsAre("one", "two", "na\xC3\xAFve"));
  EXPECT_THAT(all_texts(*open({golden("lines.json.gz").string()})),
              ElementsAre("one", "two", "na\xC3\xAFve"));
  spill(folder / "one/object.json", "{\n  \"data\": [{\"text\": \"a\"}]\n}\n");
  EXPECT_THAT(user_error_of([&] { all_texts(*open({(folder / "one").string()})); }),
              HasSubstr("object.json, line 1: expected a JSON object, found the end of the line"));
}

TEST_F(OpenSource, WhatCannotBeReadIsNamedWithTheCommandThatHelps) {
  for (const auto& [name, words, command] : std::vector<std::array<const char*, 3>>{
           {"a.jsonl.xz", "a file compressed with xz", "xz -dk a.jsonl.xz"},
           {"a.txt.BZ2", "bzip2", "bzip2 -dk a.txt.BZ2"},
           {"a.tar.gz", "a tar archive", "tar xf a.tar.gz"},
           {"a.csv", "a table", "to_parquet('a.csv.parquet')"},
           {"a.zip", "a zip archive", "unzip a.zip"}}) {
    spill(folder / "x" / name, "bytes");
    EXPECT_THAT(refusal({(folder / "x" / name).string()}), AllOf(HasSubstr(words), HasSubstr(command)));
    EXPECT_THAT(refusal({(folder / "x").string()}), AllOf(HasSubstr(name), HasSubstr(command)));
    std::filesystem::remove_all(folder / "x");
  }
  config.format = FormatSetting::text;  // a folder of source code with a picture
  spill(folder / "y/a.py", "import a");
  spill(folder / "y/b.html", "<p>b</p>");
  spill(folder / "y/c.png", std::string("\x89PNG\0", 5));
  EXPECT_EQ(all_texts(*open({(folder / "y").string()})).size(), 2u);
}

TEST_F(OpenSource, LinksThatLoopAndPipesAreLeftOut) {
  spill(folder / "a/b/one.txt", "one");
  std::filesystem::create_directory_symlink(folder / "a", folder / "a/b/up");
  std::filesystem::create_symlink("round", folder / "a/round");
  std::filesystem::create_symlink("nowhere", folder / "a/broken.txt");
  ASSERT_EQ(mkfifo((folder / "a/pipe.txt").c_str(), 0600), 0);
  EXPECT_THAT(all_texts(*open({(folder / "a").string()})), ElementsAre("one\n"));
  EXPECT_THAT(log.text(), AllOf(HasSubstr("a/b/up: left out: a link to a folder around it"),
                                HasSubstr("a/round: left out: "), HasSubstr("a/broken.txt: left out: "),
                                HasSubstr("a/pipe.txt: left out: ")));
  EXPECT_THAT(refusal({(folder / "a/pipe.txt").string()}),
              AllOf(HasSubstr("pipe.txt: expected an ordinary file, found a pipe")));
  EXPECT_THAT(refusal({"/dev/zero"}), HasSubstr("/dev/zero: expected an ordinary file, found a device"));
}

TEST_F(OpenSource, AFolderThatNobodyMayReadIsLeftOut) {
  spill(folder / "one.txt", "one");
  spill(folder / "lost+found/two.txt", "two");
  std::filesystem::permissions(folder / "lost+found", std::filesystem::perms::none);
  const bool root = geteuid() == 0;  // may read everything
  if (root && seteuid(65534) != 0) GTEST_SKIP() << "cannot become another user";
  std::error_code error;
  const bool reachable = std::filesystem::exists(folder / "one.txt", error);
  std::vector<std::string> found;
  if (reachable) found = all_texts(*open({folder.string()}));
  ASSERT_EQ(root ? seteuid(0) : 0, 0);
  std::filesystem::permissions(folder / "lost+found", std::filesystem::perms::owner_all);
  if (!reachable) GTEST_SKIP() << "another user cannot reach " << folder;
  EXPECT_THAT(found, ElementsAre("one\n"));
  EXPECT_THAT(log.text(), HasSubstr("lost+found: left out: Permission denied"));
}

TEST_F(OpenSource, HintsAreGivenOnce) {
  for (const char* name : {"a.txt", "b.txt"})
    spill(folder / name,
          "one<|endoftext|>\ntwo<|endoftext|>\ncaf\xE9\n" + std::string(*name == 'b' ? "\xE9\n" : ""));
  open({folder.string()});
  const std::string words = log.text();
  for (const char* hint : {"\"<|endoftext|>\" stands in it as text", "stretches of invalid UTF-8"}) {
    EXPECT_THAT(words, HasSubstr(hint));
    EXPECT_EQ(words.find(hint), words.rfind(hint));
  }
  config.document_split = DocumentSplit::marker;
  EXPECT_THAT(all_texts(*open({(folder / "a.txt").string()})), ElementsAre("one\n", "two\n", "caf\xE9\n"));
  config.source = {"a"};
  config.document_marker = "";
  EXPECT_THAT(user_error_of([&] { config.validate(); }), HasSubstr("data.document_marker"));
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
  config.format = FormatSetting::text;
  EXPECT_EQ(all_texts(*open({folder.string()})).size(), 3u);
  config.format = FormatSetting::jsonl;
  EXPECT_THAT(all_texts(*open({folder.string()})), ElementsAre("b"));
  EXPECT_THAT(all_texts(*open({(folder / "c.json").string()})), ElementsAre("c"));
  config.format = FormatSetting::automatic;
  EXPECT_THAT(refusal({(folder / "a.py").string()}),
              AllOf(HasSubstr("found \".py\""), HasSubstr("set data.format")));
}

TEST_F(OpenSource, AnEndingWinsOverTheFormatAndSaysSo) {
  spill(folder / "a.jsonl", "{\"text\":\"caf\\u00e9\"}");
  spill(folder / "b.py", "import b");
  config.format = FormatSetting::text;
  EXPECT_THAT(all_texts(*open({(folder / "a.jsonl").string()})), ElementsAre("caf\u00e9"));
  EXPECT_THAT(log.text(), AllOf(HasSubstr("1 file's ending says not data.format"), HasSubstr("a.jsonl")));
  EXPECT_THAT(all_texts(*open({folder.string()})), ElementsAre("caf\u00e9", "import b\n"));
  // .txt says little: there the setting counts.
  spill(folder / "c.txt", "{\"text\":\"c\"}");
  config.format = FormatSetting::jsonl;
  EXPECT_THAT(all_texts(*open({(folder / "c.txt").string()})), ElementsAre("c"));
  // A run that version 0.1 began on braces goes on.
  config.format = FormatSetting::text;
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
  config.document_split = DocumentSplit::file;
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
  config.document_split = DocumentSplit::line;
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
  config.document_split = DocumentSplit::line;
  const std::string by_line = identity();
  EXPECT_NE(by_line, before);
  spill(folder / "b.txt", "three\n");
  EXPECT_NE(identity(), by_line);
}

TEST_F(OpenSource, BesideSomethingElseItIsTheSameTextOrTheSameError) {
  spill(folder / "a.txt", "one");
  config.source = {(folder / "a.txt").string()};
  const std::string identity = open_training_source(config, terminal)->identity();
  Opening text(config, terminal, {});
  config.source = {(folder / "missing.txt").string()};
  Opening missing(config, terminal, {});
  const Opening unused(config, terminal, {});
  EXPECT_EQ(text.get()->identity(), identity);
  const std::string error = user_error_of([&] { open_training_source(config, terminal); });
  EXPECT_THAT(error, HasSubstr("missing.txt"));
  EXPECT_EQ(user_error_of([&] { missing.get(); }), error);
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
}  // namespace moe::data
