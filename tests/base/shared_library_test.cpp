// SPDX-License-Identifier: MIT
// The C library stands for one that is there.
#include "base/shared_library.h"

#include <gmock/gmock.h>

#include "support/errors.h"
#include "support/folder.h"

namespace moe {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

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
            "libmoe: expected a library, found none that opens in the loader's own places. Hint: install it");
  const SharedLibrary library({"libc.so.6"}, "libc", "the C library", "install it");
  EXPECT_EQ(library.get<int(int)>("abs")(-4), 4);
}

TEST(SharedLibrary, AVersionWithoutTheFunctionIsSaid) {
  const SharedLibrary library({"libc.so.6"}, "libc", "the C library", "install it");
  EXPECT_THAT(test::user_error_of([&] { library.get<int(int)>("moe_has_no_such_function"); }),
              AllOf(StartsWith("/"), HasSubstr("libc.so.6: expected the C library, of a version that has "
                                               "moe_has_no_such_function, found a version without it. "
                                               "Hint: install it")));
}

TEST(SharedLibrary, PlacesAreNamedAndFilesThatDoNotOpen) {
  const test::TestFolder folder;
  const std::string file = folder.put("libmoe.so", "no library").string();
  EXPECT_THAT(test::user_error_of([&] {
                const SharedLibrary library({"libmoe_is_nowhere.so", "/moe/has/none/libmoe.so", file},
                                            "libmoe", "a library", "");
              }),
              AllOf(HasSubstr("none that opens in the loader's own places, /moe/has/none, " + file + ": "),
                    HasSubstr("file too short")));
}

TEST(SharedLibrary, ThePathOfWhatTheLoaderFound) {
  EXPECT_THAT(SharedLibrary({"libc.so.6"}).path(), AllOf(StartsWith("/"), EndsWith("/libc.so.6")));
  EXPECT_EQ(SharedLibrary({"libmoe_is_nowhere.so"}).path(), "");
}

TEST(SharedLibrary, WhatIsLoadedIsFound) {
  EXPECT_NE(find_loaded<int(int)>("abs"), nullptr);
  EXPECT_EQ(find_loaded<int(int)>("moe_has_no_such_function"), nullptr);
}

}  // namespace
}  // namespace moe
