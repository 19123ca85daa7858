// SPDX-License-Identifier: MIT
#include "metrics/tensorboard.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <tensorboard_event.pb.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/host.h"
#include "base/json.h"
#include "base/little_endian.h"
#include "metrics/histogram.h"

namespace moe::metrics {
namespace {

namespace pb = tensorboard::pb;

std::string framed(const std::string& record) {
  std::string out;
  put_little_endian(out, record.size(), 8);
  put_little_endian(out, masked_crc32c(out), 4);
  out += record;
  put_little_endian(out, masked_crc32c(record), 4);
  return out;
}

void fill(pb::Histogram& out, const Histogram& histogram) {
  double count = 0, sum = 0, squares = 0;
  for (size_t i = 0; i < histogram.weights.size(); ++i) {
    const double weight = histogram.weights[i], middle = (histogram.edges[i] + histogram.edges[i + 1]) / 2;
    out.add_bucket_limit(histogram.edges[i + 1]);
    out.add_bucket(weight);
    count += weight, sum += weight * middle, squares += weight * middle * middle;
  }
  out.set_min(histogram.edges.front());
  out.set_max(histogram.edges.back());
  out.set_num(count);
  out.set_sum(sum);
  out.set_sum_squares(squares);
}

struct ToValue {
  pb::Value& out;

  void operator()(double value) const { out.set_simple_value(static_cast<float>(value)); }
  void operator()(int64_t value) const { out.set_simple_value(static_cast<float>(value)); }
  void operator()(const std::string& text) const {
    constexpr int kStrings = 7;
    out.mutable_tensor()->set_dtype(kStrings);
    out.mutable_tensor()->mutable_tensor_shape()->add_dim()->set_size(1);
    out.mutable_tensor()->add_string_val(text);
    out.mutable_metadata()->mutable_plugin_data()->set_plugin_name("text");
  }
  void operator()(const std::vector<double>& values) const { fill(*out.mutable_histo(), profile(values)); }
  void operator()(const std::vector<std::vector<double>>& values) const {
    fill(*out.mutable_histo(), load_histogram(values));
  }
};

pb::Setting to_setting(const OrderedJson& value) {
  pb::Setting setting;
  if (value.is_boolean())
    setting.set_bool_value(value.get<bool>());
  else if (value.is_number())
    setting.set_number_value(value.get<double>());
  else
    setting.set_string_value(value.is_string() ? value.get<std::string>() : value.dump());
  return setting;
}

pb::Event hparams_event(const char* tag, const pb::HParams& content) {
  pb::Event event;
  pb::Value& value = *event.mutable_summary()->add_value();
  value.set_tag(tag);
  value.mutable_metadata()->mutable_plugin_data()->set_plugin_name("hparams");
  value.mutable_metadata()->mutable_plugin_data()->set_content(content.SerializeAsString());
  return event;
}

std::string file_name(double now) {
  return fmt::format("events.out.tfevents.{:010}.{}.{}.0", static_cast<int64_t>(now), host_name(),
                     ::getpid());
}

// Two processes of one second and number (restarts in containers) would share a name.
std::filesystem::path free_name(const std::filesystem::path& folder, double now) {
  const std::string name = file_name(now);
  std::filesystem::path path = folder / name;
  for (int i = 1; std::filesystem::exists(path); ++i) path = folder / fmt::format("{}-{}", name, i);
  return path;
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  static const auto table = [] {
    std::array<uint32_t, 256> made{};
    for (uint32_t i = 0; i < made.size(); ++i) {
      uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = (value & 1) != 0 ? value >> 1 ^ 0x82f63b78U : value >> 1;
      made[i] = value;
    }
    return made;
  }();
  uint32_t crc = ~0U;
  for (const char byte : bytes) crc = table[(crc ^ static_cast<uint8_t>(byte)) & 0xff] ^ crc >> 8;
  return ~crc;
}

uint32_t masked_crc32c(std::string_view bytes) {
  const uint32_t crc = crc32c(bytes);
  return (crc >> 15 | crc << 17) + 0xa282ead8U;
}

TensorBoard::TensorBoard(const std::filesystem::path& folder, int64_t first_step,
                         const std::string& config_json, Terminal& terminal, std::function<double()> clock)
    : path_(free_name(folder, clock())),
      clock_(std::move(clock)),
      events_(
          path_.string(), "events",
          [this](std::string_view bytes) { return append_whole(descriptor_, bytes, size_); }, terminal) {
  make_folders(folder);
  descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666);
  if (descriptor_ < 0)
    throw UserError(path_.string(), "a file that can be written", std::generic_category().message(errno));
  pb::Event version;
  version.set_file_version("brain.Event:2");
  append(version, 0);
  if (first_step > 0) {
    pb::Event start;
    start.mutable_session_log()->set_status(1);
    append(start, first_step);
  }
  write_settings(config_json, first_step);
}

TensorBoard::~TensorBoard() {
  events_.finish();
  ::close(descriptor_);
}

void TensorBoard::write_settings(const std::string& config_json, int64_t step) {
  pb::HParams content;
  pb::SessionStart& start = *content.mutable_session_start_info();
  start.set_start_time_secs(clock_());
  const auto sections = parse_ordered_json("settings", config_json);
  for (const auto& [section, settings] : sections.items())
    for (const auto& [name, value] : settings.items())
      (*start.mutable_hparams())[fmt::format("{}.{}", section, name)] = to_setting(value);
  pb::Event event = hparams_event("_hparams_/session_start_info", content);
  pb::Value& text = *event.mutable_summary()->add_value();
  text.set_tag("settings");
  ToValue{text}("```\n" + sections.dump(2) + "\n```");  // the text is read as Markdown
  append(event, step);
}

void TensorBoard::append(pb::Event& event, int64_t step) {
  event.set_wall_time(clock_());
  event.set_step(step);
  events_.add(framed(event.SerializeAsString()));
}

void TensorBoard::write(const Row& row) {
  if (row.step != std::exchange(step_, row.step)) written_.clear();
  pb::Event event;
  for (const auto& [name, value] : row.values) {
    if (!written_.insert(name).second && row.find("alert") == nullptr)
      continue;  // "tokens" is in two rows of a step
    pb::Value& out = *event.mutable_summary()->add_value();
    out.set_tag(name);
    std::visit(ToValue{out}, value);
  }
  append(event, row.step);
}

void TensorBoard::finish(int exit_code) {
  pb::HParams content;
  content.mutable_session_end_info()->set_status(exit_code == 0 ? 1 : 2);
  content.mutable_session_end_info()->set_end_time_secs(clock_());
  pb::Event event = hparams_event("_hparams_/session_end_info", content);
  append(event, std::max<int64_t>(step_, 0));
  events_.finish();
}

}  // namespace moe::metrics
