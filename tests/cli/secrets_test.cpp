// SPDX-License-Identifier: MIT
// Whether secrets of addresses come out anywhere: the program against a server, and all that it wrote and
// said.
#include <gmock/gmock.h>

#include <filesystem>
#include <string>

#include "base/file.h"
#include "support/cli.h"
#include "support/hub_server.h"

namespace moe {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// An address may hold a password and a signature. Only the settings file, for its owner alone, has them.
TEST_F(Cli, SecretsOfAddressesGoNowhere) {
  fs::create_directories(folder_ / "served/files");
  fs::copy_file(folder_ / "text.txt", folder_ / "served/files/text.txt");
  const test::HubServer server(folder_ / "served");
  const auto address = [&](const std::string& name) {
    return "'http://user:PASSWORD@localhost:" + std::to_string(server.port()) + "/files/" + name +
           "?sig=SIGNATURE'";
  };
  const std::string place = address("text.txt");
  std::string said =
      train("logging.tensorboard=true logging.wandb_mode=offline logging.wandb_project=p data.source=" +
            place)
          .output;
  said += moe("train --resume runs/run training.max_steps=4").output;
  ASSERT_THAT(said, HasSubstr("done at step 4"));
  for (const char* command : {"export runs/run exported", "report runs/run", "eval runs/run",
                              "generate runs/run --max-new-tokens 2"})
    said += moe(command).output;
  said += moe("data inspect " + place).output;
  said += moe("tokenize --output tokens --source " + place).output;
  const CommandResult failed = moe("data inspect " + address("none.txt"));
  EXPECT_EQ(failed.code, 1);
  said += failed.output;
  EXPECT_THAT(said,
              AllOf(HasSubstr("/files/text.txt"), Not(HasSubstr("PASSWORD")), Not(HasSubstr("SIGNATURE"))));
  int files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder_)) {
    if (!entry.is_regular_file()) continue;
    ++files;
    const std::string bytes = read_file(entry.path());
    const bool secret =
        bytes.find("PASSWORD") != std::string::npos || bytes.find("SIGNATURE") != std::string::npos;
    EXPECT_EQ(secret, entry.path() == folder_ / "runs/run/config.yaml") << entry.path();
    if (!secret) continue;
    EXPECT_EQ(fs::status(entry.path()).permissions(), fs::perms(0600));
  }
  EXPECT_GT(files, 20);
}

}  // namespace
}  // namespace moe
