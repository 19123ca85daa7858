// SPDX-License-Identifier: MIT
// What the data tests share: a folder to write in, the golden files, a source in memory, and readable
// documents.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/input.h"
#include "data/config.h"
#include "data/source.h"
#include "support/errors.h"
#include "support/streams.h"
#include "text/gpt2_tokenizer.h"

namespace moe::data {

inline std::filesystem::path golden(const std::string& name) {
  return std::filesystem::path(MOE_SOURCE_DIR) / "tests/golden/data" / name;
}

// An empty folder of this test's own.
inline std::filesystem::path fresh_folder() {
  const auto* test = testing::UnitTest::GetInstance()->current_test_info();
  std::string name = std::string(test->test_suite_name()) + "." + test->name();
  for (char& c : name) c = c == '/' ? '_' : c;
  auto folder = std::filesystem::path(testing::TempDir()) / ("moe_data_" + name);
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  return folder;
}

inline std::string slurp(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

inline void spill(const std::filesystem::path& path, const std::string& bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::binary);
  file << bytes;
  ASSERT_TRUE(file.flush()) << path;
}

inline std::vector<std::string> texts(const Documents& documents) {
  std::vector<std::string> result;
  for (int64_t i = 0; i < documents.size(); ++i) result.emplace_back(documents.text(i));
  return result;
}

inline std::vector<std::string> all_texts(const Source& source) {
  Documents documents;
  for (int64_t unit = 0; unit < source.units(); ++unit) source.read(unit, documents);
  return texts(documents);
}

// The texts the golden files hold: neither nulls nor empty ones.
inline std::vector<std::string> golden_texts() {
  std::vector<std::string> result;
  for (const auto& row : nlohmann::json::parse(slurp(golden("rows.json"))))
    if (row.is_string() && !row.get<std::string>().empty()) result.push_back(row);
  return result;
}

using test::user_error_of;

// Counts what is read of it.
class CountingInput : public Input {
 public:
  explicit CountingInput(std::string text) : Input("counting"), text_(std::move(text)) {}
  int64_t size() const override { return std::ssize(text_); }
  mutable int64_t bytes = 0, reads = 0;

 private:
  void read_exactly(int64_t begin, char* data, size_t count) const override {
    text_.copy(data, count, static_cast<size_t>(begin));
    bytes += static_cast<int64_t>(count);
    ++reads;
  }
  std::string text_;
};

// units x per_unit short documents, each telling its number, as if a unit took `bytes` of memory.
class NumberedSource : public Source {
 public:
  NumberedSource(int64_t units, int64_t per_unit, int64_t bytes = 1000)
      : units_(units), per_unit_(per_unit), bytes_(bytes) {}
  int64_t units() const override { return units_; }
  int64_t unit_bytes(int64_t) const override { return bytes_; }
  void read(int64_t unit, Documents& documents) const override {
    if (unit == bad_unit) throw UserError("unit", "good data", "bad data");
    for (int64_t i = 0; i < per_unit_; ++i) documents.add_text(text(unit * per_unit_ + i));
  }
  std::string identity() const override { return "numbers"; }

  static std::string text(int64_t number) {
    std::string text = "document " + std::to_string(number) + ":";
    for (int64_t i = 0; i < number % 23; ++i) text += " word" + std::to_string(number * 31 % 97 + i);
    return text + "\n";
  }

  int64_t bad_unit = -1;

 private:
  int64_t units_, per_unit_, bytes_;
};

inline const text::Tokenizer& tokenizer() {
  static const text::Gpt2Tokenizer shared;
  return shared;
}

inline std::vector<text::TokenId> encode(std::string_view text) {
  return tokenizer().encode(text);
}

}  // namespace moe::data
