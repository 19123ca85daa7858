// SPDX-License-Identifier: MIT
// The container of .wandb files: the published bytes, records around the ends of blocks, files that end too
// early. tools/check_wandb.py holds the same files against wandb's own reader.
#include "wandb/record_file.h"

#include <gmock/gmock.h>

#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "support/errors.h"
#include "support/folder.h"

namespace moe::wandb {
namespace {

std::string pattern(size_t size, char start) {
  std::string text(size, '\0');
  for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>(start + static_cast<char>(i * 7));
  return text;
}

class RecordFileTest : public ::testing::Test {
 protected:
  std::vector<std::string> read() const {
    RecordReader reader(path_);
    std::vector<std::string> records;
    while (auto record = reader.next()) records.push_back(*record);
    return records;
  }
  test::TestFolder folder_;
  std::filesystem::path path_ = folder_.path() / "run-x.wandb";
};

// A file with one record, 08 01, as Weights & Biases writes it.
TEST_F(RecordFileTest, ThePublishedBytes) {
  RecordWriter(path_).append(std::string("\x08\x01", 2));
  const std::string bytes = read_file(path_);
  EXPECT_EQ(bytes, std::string("\x3a\x57\x26\x42\xe1\xbe\x00\xbb\x09\x5d\x41\x02\x00\x01\x08\x01", 16));
}

// So long a first record that 0 to 9 bytes of the block are left, and one of several blocks.
TEST_F(RecordFileTest, EndsOfBlocks) {
  for (size_t left = 0; left < 10; ++left) {
    SCOPED_TRACE(left);
    const std::vector<std::string> records = {pattern(32768 - 7 - 7 - left, 'a'), pattern(12, 'b'), "",
                                              pattern(100'000, 'c'), pattern(1, 'd')};
    {
      RecordWriter writer(path_);
      for (const std::string& record : records) EXPECT_TRUE(writer.append(record));
    }
    EXPECT_EQ(read(), records);
    std::filesystem::remove(path_);
  }
}

TEST_F(RecordFileTest, GoesOnAfterTheLastWholeRecord) {
  {
    RecordWriter writer(path_);
    writer.append(pattern(40'000, 'a'));
    writer.append(pattern(40'000, 'b'));
  }
  const std::string whole = read_file(path_);
  for (const size_t size : {whole.size() - 1, whole.size() - 39'000, size_t{40'022}, size_t{65'536}}) {
    SCOPED_TRACE(size);
    write_file_atomically(path_, whole.substr(0, size));
    int64_t end = 0;
    {
      RecordReader reader(path_);
      EXPECT_EQ(reader.next(), pattern(40'000, 'a'));
      EXPECT_EQ(reader.next(), std::nullopt);
      end = reader.position();
    }
    RecordWriter(path_, end).append(pattern(40'000, 'b'));
    EXPECT_EQ(read_file(path_), whole);
  }
}

TEST_F(RecordFileTest, ReadsWhileItGrows) {
  RecordWriter writer(path_);
  RecordReader reader(path_);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(reader.next(), std::nullopt);
    writer.append(pattern(20'000, static_cast<char>('a' + i)));
    EXPECT_EQ(reader.next(), pattern(20'000, static_cast<char>('a' + i)));
  }
}

TEST_F(RecordFileTest, RefusesDamage) {
  RecordWriter(path_).append("some record");
  const std::string whole = read_file(path_);
  for (size_t at = 0; at < whole.size(); ++at) {
    if (at == 11 || at == 12) continue;  // a longer length is a record that has not been written in full yet
    SCOPED_TRACE(at);
    std::string bytes = whole;
    bytes[at] = static_cast<char>(bytes[at] ^ 0x40);
    write_file_atomically(path_, bytes);
    EXPECT_THROW(read(), UserError);
  }
  EXPECT_THROW(RecordWriter{path_}, UserError);  // never over another file
}

}  // namespace
}  // namespace moe::wandb
