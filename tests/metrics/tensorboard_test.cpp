// SPDX-License-Identifier: MIT
// The bytes of a TensorBoard file: framing and checksums by published vectors. tools/check_tensorboard.py
// holds whole files against TensorBoard's own reader.
#include "metrics/tensorboard.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>
#include <vector>

#include "base/file.h"

namespace moe::metrics {
namespace {

// RFC 3720, appendix B.4.
TEST(TensorBoardTest, Checksums) {
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aaU);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43U);
  EXPECT_EQ(crc32c("123456789"), 0xe3069283U);
  std::string rising;
  for (char byte = 0; byte < 32; ++byte) rising += byte;
  EXPECT_EQ(crc32c(rising), 0x46dd794eU);
}

// Records of a TFRecord file; fails on a wrong checksum.
std::vector<std::string> records_of(const std::string& bytes) {
  std::vector<std::string> records;
  const auto number = [&](size_t at, size_t size) {
    uint64_t value = 0;
    for (size_t i = size; i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
    return value;
  };
  for (size_t at = 0; at < bytes.size();) {
    const size_t length = number(at, 8);
    EXPECT_EQ(number(at + 8, 4), masked_crc32c(bytes.substr(at, 8)));
    records.push_back(bytes.substr(at + 12, length));
    EXPECT_EQ(number(at + 12 + length, 4), masked_crc32c(records.back()));
    at += 16 + length;
  }
  return records;
}

TEST(TensorBoardTest, EventsOfRows) {
  const std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) / ("moe_tensorboard_" + std::to_string(getpid()));
  Terminal terminal;
  {
    TensorBoard sink(folder, 5, R"({"model":{"d_model":8,"name":"x"}})", terminal, [] { return 1.0; });
    Row row{5, {}};
    row.add("loss", 0.5).add("nothing", 0.0).add("layers/entropy", std::vector<double>{0.25, 1});
    sink.write(row);
    sink.finish(0);
  }
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) files.push_back(entry.path());
  ASSERT_EQ(files.size(), 1U);
  EXPECT_THAT(files[0].filename().string(), testing::StartsWith("events.out.tfevents.0000000001."));
  const auto records = records_of(read_file(files[0]));
  ASSERT_EQ(records.size(), 5U);  // version, start of a session, settings, the row, end
  // wall_time 1.0 (field 1), file_version (field 3).
  EXPECT_EQ(records[0], std::string("\x09\0\0\0\0\0\0\xf0\x3f\x1a\x0d"
                                    "brain.Event:2",
                                    24));
  // step 5 (field 2), session_log (field 7) with status 1.
  EXPECT_EQ(records[1], std::string("\x09\0\0\0\0\0\0\xf0\x3f\x10\x05\x3a\x02\x08\x01", 15));
  EXPECT_THAT(records[2], testing::HasSubstr("\"d_model\": 8")) << "the settings as a text, too";
  // step 5, summary (5) of a value (1) with tag (1) and simple_value (2) 0.5.
  EXPECT_THAT(records[3], testing::HasSubstr(std::string("\x0a\x0b\x0a\x04loss\x15\0\0\0\x3f", 13)));
  EXPECT_THAT(records[3],
              testing::HasSubstr(std::string("\x0a\x07nothing\x15\0\0\0\0", 14)));  // a zero is a value
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace moe::metrics
