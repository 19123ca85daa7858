// SPDX-License-Identifier: MIT
// A whole file of the hub into its cache: what stays there is the file or the beginning of it.
#include <string>

#include "hub/hub.h"
#include "support/folder.h"
#include "support/hub_server.h"
#include "torture/torture.h"

namespace moe {
namespace {

using test::fs::path;

class TorturedDownload : public test::Torture {
 protected:
  TorturedDownload() { root_.put("datasets/user/name/text.txt", text_); }

  hub::Settings settings(const path& folder) const {
    hub::Settings settings;
    settings.endpoint = server_.endpoint();
    settings.cache = folder / "cache";
    return settings;
  }
  void download_to(const path& folder) {
    hub::Hub hub(settings(folder), client_, [](const std::string&) {});
    const auto files = hub.list(address_);
    ASSERT_EQ(files.size(), 1U);
    EXPECT_EQ(read_file(hub.download(address_, files.front())), text_);
  }

  const std::string text_ = std::string(200'000, 't') + "he end";
  const hub::Address address_ = hub::Address::parse("hf://datasets/user/name");
  test::TestFolder root_;
  test::HubServer server_{root_.path()};
  net::Client client_{net::ClientOptions{}};
};

TEST_F(TorturedDownload, AFileIsInTheCacheOrComesThere) {
  const test::Writer download{
      .prepare = [](const path&) {},
      .write = [&](const path& folder) { download_to(folder); },
      // As a program without a network finds it.
      .state = [&](const path& folder) -> std::string {
        hub::Settings offline = settings(folder);
        offline.offline = true;
        hub::Hub hub(offline, client_, [](const std::string&) {});
        try {
          const auto files = hub.list(address_);
          if (files.empty()) return "old";
          return read_file(hub.download(address_, files.front())) == text_ ? "new" : "another text";
        } catch (const UserError&) {
          return "old";
        }
      },
      .lasts = false};  // a cache: what a power loss takes comes again
  fail_calls(download);
  lose_power(download);
}

}  // namespace
}  // namespace moe
