// SPDX-License-Identifier: MIT
// Runs tests/support/hub_server.py for a test: a Hugging Face hub on the loopback that fails on demand. It
// ends with this object, and with the test program in any case. What it can do is written at the head of that
// file.
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "net/http.h"

namespace moe::test {

// A server of tests/support that prints its port and ends with its standard input.
class PythonServer {
 public:
  explicit PythonServer(const std::string& script, const std::vector<std::string>& options = {}) {
    ::setenv("no_proxy", "*", 1);  // a proxy of the environment is not for the loopback
    std::vector<std::string> words = {"python3", MOE_SOURCE_DIR "/tests/support/" + script};
    words.insert(words.end(), options.begin(), options.end());
    start(words);
  }
  ~PythonServer() {
    ::close(input_);
    int status = 0;
    ::waitpid(process_, &status, 0);
  }
  PythonServer(const PythonServer&) = delete;
  PythonServer& operator=(const PythonServer&) = delete;

  std::string endpoint() const { return fmt::format("http://localhost:{}", port_); }  // HF_ENDPOINT
  std::string other_host() const { return fmt::format("http://127.0.0.1:{}", port_); }
  int port() const { return port_; }

  // plan: JSON, see the server's head; returns what /_control says (counters from now on are new).
  std::string control(const std::string& plan = "") const {
    net::Client client{net::ClientOptions{}};
    const std::string query = plan.empty() ? "" : fmt::format("?{}", net::percent_encode(plan));
    return client.get({.url = net::Url::parse(endpoint() + "/_control" + query)}).body;
  }

 private:
  void start(const std::vector<std::string>& words) {
    std::array<int, 2> in{}, out{};
    if (::pipe2(in.data(), O_CLOEXEC) != 0 || ::pipe2(out.data(), O_CLOEXEC) != 0)
      throw std::runtime_error("pipe");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], 0);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    std::vector<char*> arguments;
    arguments.reserve(words.size() + 1);
    for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    const int error = ::posix_spawnp(&process_, "python3", &actions, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    ::close(in[0]);
    ::close(out[1]);
    input_ = in[1];
    if (error != 0) throw std::runtime_error("python3 does not start");
    std::FILE* stream = ::fdopen(out[0], "r");
    if (!stream || std::fscanf(stream, "%d", &port_) != 1)
      throw std::runtime_error(words[1] + " does not start");
    std::fclose(stream);
  }

  pid_t process_ = -1;
  int input_ = -1, port_ = 0;
};

class HubServer : public PythonServer {
 public:
  explicit HubServer(const std::filesystem::path& root, const std::vector<std::string>& options = {})
      : PythonServer("hub_server.py", with(root, options)) {}

 private:
  static std::vector<std::string> with(const std::filesystem::path& root,
                                       const std::vector<std::string>& options) {
    std::vector<std::string> words = {root.string()};
    words.insert(words.end(), options.begin(), options.end());
    return words;
  }
};

}  // namespace moe::test
