// SPDX-License-Identifier: MIT
// The C library stands for one that is there.
#include "base/shared_library.h"

#include <gmock/gmock.h>

#include "base/error.h"
#include "support/errors.h"

namespace moe {
namespace {

using ::testing::HasSubstr;

TEST(SharedLibrary, TheFirstFileThatOpensIsTaken) {
  const SharedLibrary library({"libmoe_is_nowhere.so", "libc.so.6"});
  ASSERT_TRUE(library.is_open());
  auto* const absolute = library.find<int(int)>("abs");
  ASSERT_NE(absolute, nullptr);
  EXPECT_EQ(absolute(-3), 3);
  EXPECT_EQ(library.find<int(int)>("moe_has_no_such_function"), nullptr);
}

TEST(SharedLibrary, WithoutAFileThereAreNoFunctions) {
  const SharedLibrary library({"libmoe_is_nowhere.so"});
  EXPECT_FALSE(library.is_open());
  EXPECT_EQ(library.find<int(int)>("abs"), nullptr);
}

TEST(SharedLibrary, WhatIsNeededAndMissingIsSaid) {
  EXPECT_EQ(test::user_error_of([] {
              const SharedLibrary library({"libmoe_is_nowhere.so"}, "libmoe", "a library", "install it");
            }),
            "libmoe: expected a library, found none that the loader finds. Hint: install it");
  const SharedLibrary library({"libc.so.6"}, "libc", "the C library", "install it");
  EXPECT_EQ(library.get<int(int)>("abs")(-4), 4);
  try {
    library.get<int(int)>("moe_has_no_such_function");
    FAIL();
  } catch (const InternalError& error) {
    EXPECT_THAT(error.what(), HasSubstr("libc has no moe_has_no_such_function"));
  }
}

TEST(SharedLibrary, WhatIsLoadedIsFound) {
  EXPECT_NE(find_loaded<int(int)>("abs"), nullptr);
  EXPECT_EQ(find_loaded<int(int)>("moe_has_no_such_function"), nullptr);
}

}  // namespace
}  // namespace moe
