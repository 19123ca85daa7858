// SPDX-License-Identifier: MIT
// Rows as a TensorBoard event file: numbers as scalars, lists as histograms (metrics/histogram.h), texts, and
// the settings as hyperparameters and as a text at the step of each start, because TensorBoard keeps the
// hyperparameters of a folder's first start for ever. TFRecord framing: length, masked CRC-32C of it, bytes,
// masked CRC-32C of them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <string_view>

#include "base/backlog.h"
#include "base/terminal.h"
#include "metrics/sink.h"

namespace moe::metrics {

namespace tensorboard::pb {
class Event;
}

class TensorBoard final : public Sink {
 public:
  // A new file in `folder`, which is made. first_step: of a resumed run the first that will be written, so
  // that TensorBoard forgets those of the files before; 0 for a new run. config_json: {"section": {"key":
  // value}}. clock: Unix time. UserError when the file cannot be made.
  TensorBoard(const std::filesystem::path& folder, int64_t first_step, const std::string& config_json,
              Terminal& terminal, std::function<double()> clock);
  ~TensorBoard() override;
  TensorBoard(const TensorBoard&) = delete;
  TensorBoard& operator=(const TensorBoard&) = delete;

  void write(const Row& row) override;
  void finish(int exit_code) override;

 private:
  void append(tensorboard::pb::Event& event, int64_t step);
  void write_settings(const std::string& config_json, int64_t step);

  std::filesystem::path path_;
  std::function<double()> clock_;
  int descriptor_ = -1;
  int64_t size_ = 0, step_ = -1;
  std::set<std::string> written_;  // names of this step
  Backlog events_;
};

// CRC-32C (Castagnoli) and TensorFlow's masking of it.
uint32_t crc32c(std::string_view bytes);
uint32_t masked_crc32c(std::string_view bytes);

}  // namespace moe::metrics
