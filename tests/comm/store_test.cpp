// SPDX-License-Identifier: MIT
// Ranks and the store of rank 0, over the loopback; and what reaches the server from others.
// tools/check_store.py holds the client against PyTorch's server.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <thread>

#include "base/error.h"
#include "comm/store.h"
#include "support/errors.h"

namespace moe::comm {
namespace {

using std::chrono::milliseconds;

TEST(Store, RanksShareValues) {
  StoreServer server(0);
  const char* const other = std::getenv("MOE_STORE_PORT");  // of PyTorch's: tools/check_store.py
  const int port = other != nullptr ? std::atoi(other) : server.port();
  Store a("127.0.0.1", port, "run.0", milliseconds(5000)), b("localhost", port, "run.0", milliseconds(5000));
  Store restarted("127.0.0.1", port, "run.1", milliseconds(5000));
  EXPECT_FALSE(a.get("place"));
  EXPECT_FALSE(a.wait("place", milliseconds(50)));
  const std::string bytes("\0one\xff\n", 6);
  std::thread later([&] {
    std::this_thread::sleep_for(milliseconds(100));
    b.set("place", bytes);
  });
  EXPECT_EQ(a.wait("place", milliseconds(5000)), bytes);
  later.join();
  EXPECT_FALSE(restarted.get("place")) << "another start of the same run";
  EXPECT_EQ(a.add("count", 5), 5);
  EXPECT_EQ(b.add("count", -7), -2);
  EXPECT_EQ(a.get("count"), "-2");
  a.set("place", "");
  EXPECT_EQ(a.get("place"), "");  // the protocol does not answer set(): only now is it sure to be there
  EXPECT_EQ(b.get("place"), "");
}

TEST(Store, ManyRanksAtOnce) {
  StoreServer server(0);
  std::vector<std::thread> ranks;
  for (int r = 0; r < 16; ++r)
    ranks.emplace_back([&, r] {
      Store store("127.0.0.1", server.port(), "run", milliseconds(5000));
      for (int i = 0; i < 50; ++i) store.add("sum", r);
      store.set("rank " + std::to_string(r), std::to_string(r));
      for (int other = 0; other < 16; ++other)
        EXPECT_EQ(store.wait("rank " + std::to_string(other), milliseconds(5000)), std::to_string(other));
    });
  for (auto& rank : ranks) rank.join();
  EXPECT_EQ(Store("127.0.0.1", server.port(), "run", milliseconds(5000)).add("sum", 0), 50 * 120);
}

TEST(Store, SaysWhoIsNotThere) {
  int port = 0;
  {
    StoreServer server(0);
    port = server.port();
    EXPECT_THAT(test::user_error_of([&] { StoreServer second(port); }), testing::HasSubstr("MASTER_PORT"));
  }
  EXPECT_THAT(test::user_error_of([&] { Store("127.0.0.1", port, "run", milliseconds(50)); }),
              testing::HasSubstr("nobody for 0.05 s"));
  auto server = std::make_unique<StoreServer>(0);
  Store store("127.0.0.1", server->port(), "run", milliseconds(5000));
  store.set("a", "b");
  server.reset();
  EXPECT_THAT(test::user_error_of([&] { store.get("a"); }), testing::HasSubstr("gone"));
}

int connect_to(int port) {
  const int client = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
  EXPECT_EQ(connect(client, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  return client;
}

// In a process of its own with room for few descriptors: connections that end give theirs back, and those
// that stay and say nothing keep nobody out.
TEST(Store, LetsRanksInWhateverStrangersDo) {
  const pid_t child = fork();
  if (child == 0) {
    const rlimit few{100, 100};
    setrlimit(RLIMIT_NOFILE, &few);
    StoreServer server(0);
    for (int i = 0; i < 400; ++i) close(connect_to(server.port()));
    bool good = Store("127.0.0.1", server.port(), "run", milliseconds(5000)).add("n", 1) == 1;
    std::vector<int> silent;
    for (int i = 0; i < 40; ++i)
      silent.push_back(connect_to(server.port()));  // each end takes a descriptor here
    good = good && Store("127.0.0.1", server.port(), "run", milliseconds(5000)).add("n", 1) == 2;
    _exit(good ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

// More than may be silent at once: the oldest go.
TEST(Store, SilentConnectionsAreFew) {
  StoreServer server(0);
  std::vector<int> silent;
  for (size_t i = 0; i < StoreServer::kStrangers + 20; ++i) silent.push_back(connect_to(server.port()));
  EXPECT_EQ(Store("127.0.0.1", server.port(), "run", milliseconds(5000)).add("n", 1), 1);
  char byte = 0;
  EXPECT_EQ(recv(silent.front(), &byte, 1, 0), 0) << "it was ended";
  for (const int socket : silent) close(socket);
}

// What is not of the protocol ends its own connection and nothing else.
TEST(Store, OutlivesNoise) {
  StoreServer server(0);
  for (const std::string& noise :
       // A text that is too long, and a key that is not there, of one that has begun as it should.
       {std::string("\0\xce\xf7\x85\x3c\x01\xff\xff\xff\xff\xff\xff\xff\xff", 14),
        std::string("\0\xce\xf7\x85\x3c\x03\x01\0\0\0\0\0\0\0x", 15), std::string("\0\xce\xf7\x85\x3d", 5),
        std::string("GET / HTTP/1.1\r\n\r\n"), std::string("\x01\xff\xff\xff\xff\xff\xff\xff\xff", 9),
        std::string("\x03\x01\0\0\0\0\0\0\0x", 10), std::string("\x05\xff\xff\xff\xff\xff\xff\xff\x7f", 9)}) {
    const int client = connect_to(server.port());
    ASSERT_EQ(send(client, noise.data(), noise.size(), MSG_NOSIGNAL), static_cast<ssize_t>(noise.size()));
    char byte = 0;
    EXPECT_LE(recv(client, &byte, 1, 0), 0) << "no answer";
    close(client);
  }
  Store store("127.0.0.1", server.port(), "run", milliseconds(5000));
  EXPECT_EQ(store.add("n", 1), 1);
}

}  // namespace
}  // namespace moe::comm
