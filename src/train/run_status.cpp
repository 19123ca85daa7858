// SPDX-License-Identifier: MIT
#include "train/run_status.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <ctime>
#include <fstream>
#include <iterator>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/host.h"
#include "base/json.h"

namespace moe::train {
namespace {

namespace fs = std::filesystem;
using Kind = RunStatus::Kind;

constexpr const char* kName = "status.json";

struct Written {
  Kind kind = Kind::unknown;
  std::string process;
  RunStatus status;
};

std::optional<Written> read_file_of(const fs::path& folder) {
  std::ifstream file(folder / kName, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const auto json = try_parse_json(text, {.bytes = 1 << 16, .depth = 4});
  if (!json || !json->is_object()) return std::nullopt;
  const auto word = [&](const char* name) {
    const auto found = json->find(name);
    return found != json->end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  const auto kind = value_named<Kind>(word("state"));
  if (!kind) return std::nullopt;
  Written written{.kind = *kind, .process = word("process"), .status = {}};
  written.status.why = word("why");
  if (const auto step = json->find("first_step"); step != json->end() && step->is_number_integer())
    written.status.first_step = step->get<int64_t>();
  return written;
}

// Whose the lock is, where its owner shows signs of life.
std::optional<std::string> living_owner(const fs::path& folder, std::chrono::seconds silence) {
  const fs::path lock = folder / "run.lock";
  struct stat status {};
  if (::stat(lock.c_str(), &status) != 0) return std::nullopt;
  if (std::time(nullptr) - status.st_mtim.tv_sec > silence.count()) return std::nullopt;
  std::ifstream file(lock);
  std::string owner;
  std::getline(file, owner);
  return owner;
}

}  // namespace

RunStatus read_run_status(const fs::path& folder, std::chrono::seconds silence) {
  // The lock first: a process writes how it ended before it gives the lock back.
  const auto owner = living_owner(folder, silence);
  const auto written = read_file_of(folder);
  RunStatus status = written ? written->status : RunStatus{};
  if (owner) {
    const bool of_owner = written && written->process == *owner;
    status.kind = of_owner ? written->kind : Kind::starting;
    if (!of_owner) status.why.clear();
  } else if (written) {
    status.kind = written->kind == Kind::running ? Kind::died : written->kind;
  }
  return status;
}

StatusFile::StatusFile(const RunFolder& folder, int64_t first_step)
    : folder_(folder), first_step_(first_step) {
  put(Kind::running);
}

StatusFile::~StatusFile() {
  broke("");
}

void StatusFile::broke(const std::string& why) {
  if (!std::exchange(over_, true)) put(Kind::failed, why);
}

void StatusFile::finish(int exit_code) {
  if (std::exchange(over_, true)) return;
  if (exit_code == 0)
    put(Kind::ended);
  else
    put(Kind::stopped, fmt::format("signal {}", exit_code - 128));
}

void StatusFile::put(Kind kind, const std::string& why) {
  if (folder_.is_lost()) return;
  const OrderedJson json = {
      {"state", name_of(kind)}, {"first_step", first_step_}, {"process", process_name()}, {"why", why}};
  try {
    write_file_atomically(folder_.path() / kName,
                          json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace) + "\n");
  } catch (const UserError&) {  // the record warns of a disk that takes nothing
  }
}

}  // namespace moe::train
