// SPDX-License-Identifier: MIT
#include "metrics/jsonl.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace moe::metrics {
namespace {

// Whole numbers are written without a fraction: counts of experts come as doubles.
OrderedJson number(double value) {
  constexpr double kExact = 9007199254740992.0;  // 2^53
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  if (value == std::trunc(value) && std::abs(value) <= kExact) return static_cast<int64_t>(value);
  return value;
}

struct ToJson {
  OrderedJson operator()(double value) const { return number(value); }
  OrderedJson operator()(int64_t value) const { return value; }
  OrderedJson operator()(const std::string& value) const { return value; }
  template <class T>
  OrderedJson operator()(const std::vector<T>& values) const {
    OrderedJson list = OrderedJson::array();
    for (const T& value : values) list.push_back((*this)(value));
    return list;
  }
};

// The step of a line as to_json writes it, with or without its newline; none for anything else, a torn line
// too.
std::optional<int64_t> step_of_line(std::string_view line) {
  constexpr std::string_view kStart = R"({"step":)";
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.remove_suffix(1);
  if (!line.starts_with(kStart) || line.back() != '}') return std::nullopt;
  int64_t step = 0;
  const auto [stop, error] = std::from_chars(line.data() + kStart.size(), line.data() + line.size(), step);
  if (error != std::errc() || (*stop != ',' && *stop != '}')) return std::nullopt;
  return step;
}

// What of a record is not to stay: rows of later steps and a torn end, and lines that never were rows.
struct Others {
  bool any = false;
  int64_t strange = 0, first_strange = 0;  // how many; the number of the first line
  std::string set_aside;                   // those of them that are not blank
};

// Calls each(line) for the lines to keep. Only the last line can be torn; it may also be whole and lack no
// more than its newline. A power cut can leave zeros before a row.
template <class Each>
Others for_kept_lines(std::string_view text, int64_t first_step, Each&& each) {
  Others others;
  for (int64_t number = 1; !text.empty(); ++number) {
    const size_t newline = text.find('\n');
    const bool torn = newline == std::string_view::npos;
    std::string_view line = text.substr(0, torn ? text.size() : newline + 1);
    text.remove_prefix(line.size());
    const size_t zeros = std::min(line.find_first_not_of('\0'), line.size());
    line.remove_prefix(zeros);
    const auto step = step_of_line(line);
    if (!step && !torn) {
      if (others.strange++ == 0) others.first_strange = number;
      if (line.find_first_not_of(" \t\r\n") != std::string_view::npos) others.set_aside += line;
    }
    const bool whole = step && (!torn || try_parse_ordered_json(line));
    others.any |= torn || zeros > 0 || !step || *step >= first_step;
    if (whole && *step < first_step) each(line);
  }
  return others;
}

// Lines that are no rows wait beside the record for somebody to look at them.
void set_aside(const std::filesystem::path& path, const Others& others, Terminal& terminal) {
  if (others.strange == 0) return;
  std::string where = "they were blank";
  if (!others.set_aside.empty()) {
    const std::filesystem::path beside = path.string() + ".set-aside";
    write_file_atomically(beside,
                          (std::filesystem::exists(beside) ? read_file(beside) : "") + others.set_aside);
    where = fmt::format("they are in {} now", beside.string());
  }
  terminal.warning(fmt::format("{}: {} lines, the first of them line {}, are no rows; {}", path.string(),
                               others.strange, others.first_strange, where));
}

// Leaves the rows of the steps before first_step, and counts those steps; step 0 is none.
int64_t cut(const std::filesystem::path& path, int64_t first_step, Terminal& terminal) {
  const MappedFile file(path);
  const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  int64_t steps = 0, last = 0;
  const Others others = for_kept_lines(text, first_step, [&](std::string_view line) {
    const int64_t step = step_of_line(line).value_or(0);
    steps += step != std::exchange(last, step) ? 1 : 0;
  });
  if (!others.any) return steps;
  set_aside(path, others, terminal);
  FileWriter writer(path);
  for_kept_lines(text, first_step, [&](std::string_view line) {
    writer.write(line);
    if (!line.ends_with('\n')) writer.write("\n");
  });
  writer.commit();
  return steps;
}

}  // namespace

std::string to_json(const Row& row) {
  OrderedJson object = {{"step", row.step}};
  for (const auto& [name, value] : row.values) {
    CHECK(!object.contains(name), name);
    object[name] = std::visit(ToJson{}, value);
  }
  return object.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

Jsonl::Jsonl(std::filesystem::path path, int64_t first_step, Terminal& terminal)
    : path_(std::move(path)),
      terminal_(terminal),
      rows_(
          path_.string(), "rows",
          [this](std::string_view line) { return append_whole(descriptor_, line, size_); }, terminal) {
  const bool fresh = !std::filesystem::exists(path_);
  const int64_t found = fresh ? 0 : cut(path_, first_step, terminal_);
  if (found < first_step - 1)
    terminal_.warning(fmt::format("{}: {} of the {} steps so far have no row: what wrote them ended too soon",
                                  path_.string(), first_step - 1 - found, first_step - 1));
  descriptor_ = open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  struct stat status {};
  if (descriptor_ < 0 || fstat(descriptor_, &status) != 0) {
    throw UserError(path_.string(), "a file that can be written", std::generic_category().message(errno));
  }
  size_ = status.st_size;
  if (fresh) synchronise_folder(folder_of(path_));  // for settle()
}

Jsonl::~Jsonl() {
  rows_.finish();
  close(descriptor_);
}

// Of a file that was deleted the open one still holds all rows.
void Jsonl::moved(const std::filesystem::path& folder) {
  path_ = folder / path_.filename();
  if (std::filesystem::exists(path_)) return;
  std::error_code error;
  std::filesystem::copy_file(fmt::format("/proc/self/fd/{}", descriptor_), path_, error);
  const int again = error ? -1 : open(path_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  if (again < 0)
    return terminal_.warning(fmt::format("{}: the record could not be made again: {}", path_.string(),
                                         error ? error.message() : std::generic_category().message(errno)));
  close(std::exchange(descriptor_, again));
}

void Jsonl::write(const Row& row) {
  rows_.add(to_json(row) + "\n");
}

void Jsonl::settle() {
  if (fdatasync(descriptor_) == 0 || errno == EINVAL) return;  // EINVAL: a file system that cannot
  terminal_.warning(
      fmt::format("{}: cannot write it to disk: {}", path_.string(), std::generic_category().message(errno)));
}

void Jsonl::finish(int /*exit_code*/) {
  rows_.finish();
}

}  // namespace moe::metrics
