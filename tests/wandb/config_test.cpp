// SPDX-License-Identifier: MIT
// Which of config file, environment and netrc counts, and what is refused.
#include "wandb/config.h"

#include <gmock/gmock.h>

#include <map>

#include "support/errors.h"
#include "support/folder.h"
#include "wandb/api.h"

namespace moe::wandb {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Settings settings(const Config& config, const std::map<std::string, std::string>& variables) {
  return resolve(config, "/runs/a", "a", [&](const char* name) {
    const auto found = variables.find(name);
    return found == variables.end() ? std::string() : found->second;
  });
}

TEST(WandbConfigTest, OffUnlessAskedFor) {
  EXPECT_EQ(settings({}, {}).mode, Mode::disabled);
  EXPECT_EQ(settings({}, {{"WANDB_API_KEY", "k"}}).mode, Mode::disabled);
  EXPECT_EQ(settings({.project = "p"}, {{"WANDB_MODE", "disabled"}}).mode, Mode::disabled);
  const Settings offline = settings({.project = "p"}, {});
  EXPECT_EQ(offline.mode, Mode::offline);
  EXPECT_THAT(offline.why, HasSubstr("WANDB_API_KEY"));
  EXPECT_EQ(settings({}, {{"WANDB_PROJECT", "p"}, {"WANDB_API_KEY", "k"}}).mode, Mode::online);
  EXPECT_EQ(settings({}, {{"WANDB_MODE", "offline"}}).mode, Mode::offline);
  EXPECT_EQ(settings({.mode = ModeSetting::offline}, {{"WANDB_MODE", "online"}, {"WANDB_API_KEY", "k"}}).mode,
            Mode::offline);
  EXPECT_EQ(settings({}, {{"WANDB_MODE", "dryrun"}}).mode, Mode::offline);
}

TEST(WandbConfigTest, AnAddressThatIsNoneIsRefusedWhereItIsNeeded) {
  const std::map<std::string, std::string> variables = {{"WANDB_API_KEY", "k"},
                                                        {"WANDB_BASE_URL", "nonsense"}};
  EXPECT_THAT(test::user_error_of([&] { settings({.project = "p"}, variables); }),
              ::testing::AllOf(HasSubstr("WANDB_BASE_URL: expected"), HasSubstr("\"nonsense\"")));
  EXPECT_EQ(settings({.mode = ModeSetting::offline}, variables).mode, Mode::offline);
}

TEST(WandbConfigTest, EnvironmentAndDefaults) {
  const Settings plain = settings({.mode = ModeSetting::offline}, {});
  EXPECT_EQ(plain.project, "uncategorized");
  EXPECT_EQ(plain.name, "a");
  EXPECT_EQ(plain.folder, "/runs/a");
  EXPECT_EQ(plain.base_url, "https://api.wandb.ai");
  EXPECT_EQ(plain.resume, Resume::unset);
  const Settings full = settings({}, {{"WANDB_PROJECT", "p"},
                                      {"WANDB_ENTITY", "e"},
                                      {"WANDB_NAME", "n"},
                                      {"WANDB_NOTES", "some notes"},
                                      {"WANDB_TAGS", "one, two,,three "},
                                      {"WANDB_RUN_GROUP", "g"},
                                      {"WANDB_JOB_TYPE", "j"},
                                      {"WANDB_RUN_ID", "id_1"},
                                      {"WANDB_RESUME", "must"},
                                      {"WANDB_DIR", "/else"},
                                      {"WANDB_BASE_URL", "http://localhost:8080/"}});
  EXPECT_EQ(full.project + full.entity + full.name + full.group + full.job_type, "pengj");
  EXPECT_EQ(full.notes, "some notes");
  EXPECT_THAT(full.tags, ElementsAre("one", "two", "three"));
  EXPECT_EQ(full.run_id, "id_1");
  EXPECT_EQ(full.resume, Resume::must);
  EXPECT_EQ(full.folder, "/else");
  EXPECT_EQ(full.base_url, "http://localhost:8080");
  EXPECT_EQ(settings({.project = "mine"}, {{"WANDB_PROJECT", "p"}}).project, "mine");
}

TEST(WandbConfigTest, RefusesWhatItCannotKnow) {
  EXPECT_THAT(test::user_error_of([] { settings({}, {{"WANDB_MODE", "shared"}}); }), HasSubstr("WANDB_MODE"));
  EXPECT_THAT(test::user_error_of([] {
                settings({}, {{"WANDB_RESUME", "perhaps"}});
              }),
              HasSubstr("WANDB_RESUME"));
  EXPECT_THAT(test::user_error_of([] {
                settings({}, {{"WANDB_RUN_ID", "a/b"}});
              }),
              HasSubstr("WANDB_RUN_ID"));
}

TEST(WandbConfigTest, KeyOfTheNetrc) {
  const char* text =
      "machine other login user password no\nmachine api.wandb.ai\n  login user\n  password yes\n";
  EXPECT_EQ(netrc_password(text, "api.wandb.ai"), "yes");
  EXPECT_EQ(netrc_password(text, "nobody"), std::nullopt);
  EXPECT_EQ(netrc_password("default login me password all", "x"), "all");
  EXPECT_EQ(netrc_password("machine", "x"), std::nullopt);

  const test::TestFolder home;
  home.put(".netrc", text);
  const Settings found = settings({.project = "p"}, {{"HOME", home.path().string()}});
  EXPECT_EQ(found.mode, Mode::online);
  EXPECT_EQ(found.api_key, "yes");
}

// RFC 4648's vectors, behind "api:".
TEST(WandbConfigTest, BasicAuthorization) {
  EXPECT_EQ(basic_authorization(""), "Basic YXBpOg==");
  EXPECT_EQ(basic_authorization("f"), "Basic YXBpOmY=");
  EXPECT_EQ(basic_authorization("fo"), "Basic YXBpOmZv");
  EXPECT_EQ(basic_authorization("foobar"), "Basic YXBpOmZvb2Jhcg==");
}

}  // namespace
}  // namespace moe::wandb
