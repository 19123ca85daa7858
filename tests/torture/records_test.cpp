// SPDX-License-Identifier: MIT
// What grows row by row: metrics.jsonl, the files of TensorBoard and of Weights & Biases. A disk that fails
// is a warning and costs rows at most; what is there stays readable, and a resumed run goes on in it.
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "metrics/jsonl.h"
#include "metrics/tensorboard.h"
#include "torture/torture.h"
#include "wandb/record_file.h"
#include "wandb/sink.h"

namespace moe {
namespace {

using test::fs::path;

class TorturedRecords : public test::Torture {
 protected:
  TorturedRecords() : quiet_(std::fopen("/dev/null", "w"), std::fclose), terminal_(quiet_.get()) {}

  static metrics::Row row(int64_t step, double loss) { return metrics::Row{step, {}}.add("loss", loss); }

  std::unique_ptr<std::FILE, int (*)(std::FILE*)> quiet_;
  Terminal terminal_;
};

// The losses of the whole lines, one for each step. Only the last line may be torn; others only by a power
// loss.
std::string losses(const path& file, bool damaged) {
  const std::string text = read_file(file);
  std::istringstream lines(text.substr(0, text.rfind('\n') + 1));
  std::string found;
  for (std::string line; std::getline(lines, line);)
    if (!damaged || nlohmann::json::accept(line))
      found += nlohmann::json::parse(line).at("loss").dump() + " ";
  return found;
}

TEST_F(TorturedRecords, RowsOfTheRecord) {
  const auto write = [&](const path& folder, int64_t first, const std::vector<double>& values) {
    metrics::Jsonl record(folder / "metrics.jsonl", first, terminal_);
    for (const double loss : values) record.write(row(first++, loss));
    record.settle();
    record.finish(0);
  };
  const auto state_of = [](bool damaged) {
    return [damaged](const path& folder) -> std::string {
      const std::string found = losses(folder / "metrics.jsonl", damaged);
      if (found == "1.5 2.5 30.5 40.5 ") return "new";
      return found.starts_with("1.5 2.5 ") ? "old" : "the record is " + found;
    };
  };
  test::Writer record{.prepare =
                          [&](const path& folder) {
                            write(folder, 1, {1.5, 2.5, 3.5});
                          },
                      .write =
                          [&](const path& folder) {
                            write(folder, 3, {30.5, 40.5});
                          },
                      .state = state_of(false),
                      .reports = false};
  fail_calls(record);
  fail_allocations(record);
  record.state = state_of(true);
  lose_power(record);
}

// How many events are whole; -1 when something else stands between them.
int64_t whole_events(const path& file) {
  const std::string bytes = read_file(file);
  int64_t count = 0;
  for (size_t at = 0; at + 12 <= bytes.size(); ++count) {
    const auto number = [&](size_t place, size_t width) {
      uint64_t value = 0;
      for (size_t i = width; i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[place + i]);
      return value;
    };
    const uint64_t length = number(at, 8);
    if (number(at + 8, 4) != metrics::masked_crc32c(std::string_view(bytes).substr(at, 8))) return -1;
    if (at + 16 + length > bytes.size()) return count;  // it breaks off
    const std::string_view event = std::string_view(bytes).substr(at + 12, length);
    if (number(at + 12 + length, 4) != metrics::masked_crc32c(event)) return -1;
    at += 16 + length;
  }
  return count;
}

TEST_F(TorturedRecords, EventsOfTensorBoard) {
  const auto write = [&](const path& folder) {
    metrics::TensorBoard events(folder / "tensorboard", 0, R"({"model": {"d_model": 4}})", terminal_,
                                [] { return 1e9; });
    for (int64_t step = 1; step <= 3; ++step) events.write(row(step, 0.5));
    events.finish(0);
  };
  fail_calls({.prepare = [](const path&) {},
              .write = write,
              .state = [&](const path& folder) -> std::string {
                int64_t most = 0;
                if (!test::fs::exists(folder / "tensorboard")) return "old";
                for (const auto& entry : test::fs::directory_iterator(folder / "tensorboard")) {
                  const int64_t events = whole_events(entry.path());
                  if (events < 0) return "a damaged file of events";
                  most = std::max(most, events);
                }
                return most == 6 ? "new" : "old";
              },
              .reports = false,
              .lasts = false});
}

class TorturedWandb : public TorturedRecords {
 protected:
  void record(const path& folder, bool resumed, int64_t first, int64_t last) {
    wandb::Settings settings;
    settings.mode = wandb::Mode::offline;
    settings.folder = folder;
    settings.project = "torture";
    const double now = 1e9;
    auto files = wandb::RunFiles::open(settings, folder / "wandb.json", resumed, now);
    wandb::RecordSink sink(settings, std::move(files),
                           {.config_json = R"({"model": {"d_model": 4}})", .arguments = {}}, terminal_,
                           [] { return 1e9; });
    for (int64_t step = first; step <= last; ++step) sink.write(row(step, 0.5));
    if (resumed) sink.finish(0);
  }
  // Whole records of the file that wandb.json names.
  static int64_t records(const path& folder) {
    const auto state = nlohmann::json::parse(read_file(folder / "wandb.json"));
    const std::string id = state.at("id");
    wandb::RecordReader reader(folder / state.at("folder").get<std::string>() / ("run-" + id + ".wandb"));
    int64_t count = 0;
    try {
      while (reader.next()) ++count;
    } catch (const UserError&) {  // what a power loss damaged ends it
      return count;
    }
    return count;
  }
};

TEST_F(TorturedWandb, RecordsGoOn) {
  int64_t before = 0;
  torture({.prepare =
               [&](const path& folder) {
                 record(folder, false, 1, 2);
                 before = records(folder);
               },
           .write = [&](const path& folder) { record(folder, true, 3, 4); },
           .state = [&](const path& folder) -> std::string {
             const int64_t found = records(folder);
             if (found < before) return std::to_string(found) + " of " + std::to_string(before) + " records";
             return found >= before + 3 ? "new" : "old";
           },
           .reports = false,
           .lasts = false});
}

}  // namespace
}  // namespace moe
