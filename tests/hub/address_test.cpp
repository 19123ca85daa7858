// SPDX-License-Identifier: MIT
// hf:// addresses as huggingface_hub reads them (tests/golden/hub/addresses.txt), and what a cache must not
// be told.
#include "hub/address.h"

#include <gmock/gmock.h>

#include <sstream>
#include <string>

#include "base/file.h"
#include "hub/hub.h"
#include "support/errors.h"

namespace moe::hub {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(AddressTest, ReadsWhatPythonReads) {
  std::istringstream lines(read_file(MOE_SOURCE_DIR "/tests/golden/hub/addresses.txt"));
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    std::istringstream fields(line);
    std::string text;
    Address expected;
    std::getline(fields, text, '\t');
    std::getline(fields, expected.kind, '\t');
    std::getline(fields, expected.repo, '\t');
    std::getline(fields, expected.revision, '\t');
    std::getline(fields, expected.path, '\t');
    if (expected.kind == "refused") {
      EXPECT_NE(test::user_error_of([&] { Address::parse(text); }), "") << text;
      continue;
    }
    const Address address = Address::parse(text);
    EXPECT_EQ(address, expected) << text;
    EXPECT_EQ(Address::parse(address.text()), address) << text;
  }
  EXPECT_EQ(count, 21);
}

TEST(AddressTest, RefusesPathsThatLeaveTheRepository) {
  for (const char* text :
       {"hf://datasets/u/n/../x", "hf://datasets/u/n/a/..", "hf://datasets/u/n/./a", "hf://datasets/u/n@../x",
        "hf://datasets/u/n@..%2Fx/y", "hf://datasets/../n", "hf://", "hf://datasets/u/..", "hf://spaces/u/n",
        "https://huggingface.co/datasets/u/n"})
    EXPECT_THAT(test::user_error_of([&] { Address::parse(text); }),
                AllOf(HasSubstr(text), HasSubstr("hf://datasets/USER/NAME")))
        << text;
}

TEST(AddressTest, FineWebEduIsPinned) {
  const Address fineweb = Address::parse("hf://datasets/HuggingFaceFW/fineweb-edu/sample/10BT");
  EXPECT_EQ(revision_or_default(fineweb), "87f09149ef4734204d70ed1d046ddc9ca3f2b8f9");
  EXPECT_EQ(revision_or_default(Address::parse("hf://datasets/HuggingFaceFW/fineweb-edu@main/sample")),
            "main");
  EXPECT_EQ(revision_or_default(Address::parse("hf://datasets/HuggingFaceFW/fineweb")), "main");
}

}  // namespace
}  // namespace moe::hub
