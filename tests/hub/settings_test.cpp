// SPDX-License-Identifier: MIT
#include "hub/settings.h"

#include <gmock/gmock.h>

#include <cstdlib>

#include "support/errors.h"
#include "support/folder.h"

namespace moe::hub {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class SettingsTest : public testing::Test {
 protected:
  SettingsTest() {
    for (const char* name :
         {"HF_ENDPOINT", "HF_TOKEN", "HF_TOKEN_PATH", "HF_HOME", "XDG_CACHE_HOME", "HF_HUB_CACHE",
          "HF_HUB_OFFLINE", "HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"})
      ::unsetenv(name);
    set("HOME", folder_.path());
  }
  static void set(const char* name, const std::string& value) { ::setenv(name, value.c_str(), 1); }
  test::TestFolder folder_;
};

TEST_F(SettingsTest, Defaults) {
  const Settings settings = Settings::from_environment();
  EXPECT_EQ(settings.endpoint, "https://huggingface.co");
  EXPECT_EQ(settings.token, "");
  EXPECT_EQ(settings.cache, folder_.path() / ".cache/huggingface/hub");
  EXPECT_FALSE(settings.offline);
  EXPECT_EQ(settings.etag_timeout, 10);
  EXPECT_EQ(settings.download_timeout, 10);
}

TEST_F(SettingsTest, FoldersFollowEachOther) {
  set("XDG_CACHE_HOME", "/x");
  EXPECT_EQ(Settings::from_environment().cache, "/x/huggingface/hub");
  set("HF_HOME", "~/h");
  EXPECT_EQ(Settings::from_environment().cache, folder_.path() / "h/hub");
  set("HF_HUB_CACHE", "/c");
  EXPECT_EQ(Settings::from_environment().cache, "/c");
}

TEST_F(SettingsTest, TokenOfTheEnvironmentElseOfAFile) {
  set("HF_HOME", folder_.path());
  folder_.put("token", "hf_file\n");
  EXPECT_EQ(Settings::from_environment().token, "hf_file");
  set("HF_TOKEN_PATH", folder_.put("other", " hf_other \n"));
  EXPECT_EQ(Settings::from_environment().token, "hf_other");
  set("HF_TOKEN", "hf_word\n");
  EXPECT_EQ(Settings::from_environment().token, "hf_word");
  set("HF_TOKEN", "hf word");
  EXPECT_THAT(test::user_error_of([] { Settings::from_environment(); }),
              AllOf(HasSubstr("HF_TOKEN"), Not(HasSubstr("hf word"))));
}

TEST_F(SettingsTest, TheRest) {
  set("HF_ENDPOINT", "http://localhost:1/");
  set("HF_HUB_OFFLINE", "yes");
  set("HF_HUB_ETAG_TIMEOUT", "3");
  set("HF_HUB_DOWNLOAD_TIMEOUT", "0.5");
  const Settings settings = Settings::from_environment();
  EXPECT_EQ(settings.endpoint, "http://localhost:1");
  EXPECT_TRUE(settings.offline);
  net::ClientOptions options;
  settings.apply(options);
  EXPECT_EQ(options.retry.connect_timeout, 3);
  EXPECT_EQ(options.retry.stall_timeout, 0.5);

  set("HF_HUB_OFFLINE", "0");
  EXPECT_FALSE(Settings::from_environment().offline);
  set("HF_HUB_DOWNLOAD_TIMEOUT", "soon");
  EXPECT_THAT(test::user_error_of([] { Settings::from_environment(); }),
              HasSubstr("HF_HUB_DOWNLOAD_TIMEOUT"));
  ::unsetenv("HF_HUB_DOWNLOAD_TIMEOUT");
  set("HF_ENDPOINT", "huggingface");
  EXPECT_THAT(test::user_error_of([] { Settings::from_environment(); }), HasSubstr("http"));
}

}  // namespace
}  // namespace moe::hub
