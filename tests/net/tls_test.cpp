// SPDX-License-Identifier: MIT
// HTTPS and HTTP/2 against nginx with a certificate of our own: trusted only when the environment says so.
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <optional>
#include <string>
#include <thread>

#include "net/http.h"
#include "support/errors.h"
#include "support/folder.h"

namespace moe::net {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;

int free_port() {
  const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  const bool bound = ::bind(listener, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                     ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  ::close(listener);
  return bound ? ntohs(address.sin_port) : 0;
}

bool runs(const std::string& command) {
  return std::system((command + " > /dev/null 2>&1").c_str()) == 0;
}

class TlsTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!runs("nginx -v") || !runs("openssl version")) GTEST_SKIP() << "nginx or openssl is not installed";
    ::setenv("no_proxy", "*", 1);
    for (const char* name : {"MOE_CA_FILE", "SSL_CERT_FILE", "SSL_CERT_DIR"}) ::unsetenv(name);
    const std::string at = folder_.path().string();
    ASSERT_TRUE(
        runs(fmt::format("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
                         "-subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout {0}/key.pem -out "
                         "{0}/ca.pem",
                         at)));
    folder_.put("www/x.txt", "0123456789");
    port_ = free_port();
    const auto config = folder_.put("nginx.conf", fmt::format(R"(
daemon off; master_process off; pid {0}/pid; error_log {0}/error.log;
events {{}}
http {{
  access_log {0}/access.log;
  client_body_temp_path {0}; proxy_temp_path {0}; fastcgi_temp_path {0}; uwsgi_temp_path {0}; scgi_temp_path {0};
  server {{
    listen 127.0.0.1:{1} ssl http2;
    ssl_certificate {0}/ca.pem; ssl_certificate_key {0}/key.pem;
    root {0}/www;
    location /plain {{ return 302 http://localhost:{1}/x.txt; }}
    location /protocol {{ return 200 $server_protocol; }}
  }}
}})",
                                                              at, port_));
    process_ = ::fork();
    if (process_ == 0) {
      ::execlp("nginx", "nginx", "-e", (at + "/error.log").c_str(), "-c", config.c_str(), nullptr);
      ::_exit(1);
    }
    for (int i = 0; i < 200 && !std::filesystem::exists(folder_.path() / "pid"); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }

  void TearDown() override {
    if (process_ <= 0) return;
    ::kill(process_, SIGTERM);
    ::waitpid(process_, nullptr, 0);
  }

  Url url(const std::string& path, const std::string& host = "localhost") const {
    return Url::parse(fmt::format("https://{}:{}{}", host, port_, path));
  }
  static ClientOptions options() {
    ClientOptions options = ClientOptions::from_environment();
    options.retry.first_wait = 0.05;
    return options;
  }
  std::string trusted() const { return (folder_.path() / "ca.pem").string(); }

  test::TestFolder folder_;
  pid_t process_ = -1;
  int port_ = 0;
};

TEST_F(TlsTest, TrustsWhatTheEnvironmentNames) {
  for (const char* name : {"MOE_CA_FILE", "SSL_CERT_FILE"}) {
    ::setenv(name, trusted().c_str(), 1);
    Client client(options());
    EXPECT_EQ(client.get({.url = url("/x.txt"), .range = Range{2, 5}}).body, "234") << name;
    EXPECT_EQ(client.get({.url = url("/protocol")}).body, "HTTP/2.0");
    ::unsetenv(name);
  }
}

TEST_F(TlsTest, RefusesWhatItDoesNotTrust) {
  Client client(options());
  EXPECT_THAT(test::user_error_of([&] { client.get({.url = url("/x.txt")}); }),
              AllOf(HasSubstr("certificate"), HasSubstr("MOE_CA_FILE")));
  EXPECT_EQ(client.counters().retries, 0);

  ::setenv("MOE_CA_FILE", trusted().c_str(), 1);
  Client trusting(options());
  // The right certificate for another name.
  EXPECT_THAT(test::user_error_of([&] { trusting.get({.url = url("/x.txt", "127.0.0.1")}); }),
              AnyOf(HasSubstr("certificate"), HasSubstr("SSL")));
  EXPECT_EQ(trusting.counters().retries, 0);
  EXPECT_THAT(test::user_error_of([&] { trusting.get({.url = url("/plain")}); }),
              HasSubstr("https throughout"));

  ::setenv("MOE_CA_FILE", "/nonexistent.pem", 1);
  Client lost(options());
  EXPECT_THAT(test::user_error_of([&] { lost.get({.url = url("/x.txt")}); }), HasSubstr("MOE_CA_FILE"));
  ::unsetenv("MOE_CA_FILE");
}

}  // namespace
}  // namespace moe::net
