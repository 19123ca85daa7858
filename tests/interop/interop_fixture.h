// SPDX-License-Identifier: MIT
// A folder of the Hugging Face format beside a checkpoint of ours, made and changed by tests.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"
#include "model/config.h"
#include "support/tiny_model.h"

namespace moe::interop {

namespace fs = std::filesystem;

class Interop : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        fs::path(::testing::TempDir()) / ("moe_interop_" + std::to_string(getpid()) + "_" +
                                          ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_ / "hf");
  }
  void TearDown() override { fs::remove_all(folder_); }

  // Random weights, norms on both sides of 0.5, as our checkpoint holds them.
  checkpoint::Safetensors checkpoint(const model::ModelConfig& config) {
    test::TinyModel model(config, 1, config.vocab_size);
    model.weights->initialise(3, *model.backend.ops);
    for (const model::Buffer& buffer : model.weights->buffers()) {
      std::vector<float> values(static_cast<size_t>(buffer.value.numel()));
      for (size_t i = 0; i < values.size(); ++i) values[i] = 0.3F - 0.11F * static_cast<float>(i);
      model.backend.device->to_device(buffer.value, values.data());
    }
    for (const Parameter& parameter : model.weights->list()) {
      if (parameter.group != "norms" && parameter.group != "biases") continue;
      std::vector<float> values(static_cast<size_t>(parameter.weight.numel()));
      for (size_t i = 0; i < values.size(); ++i) values[i] = 0.1F + 0.173F * static_cast<float>(i);
      model.backend.device->to_device(parameter.weight, values.data());
    }
    checkpoint::write_safetensors(folder_ / "ours.safetensors", model.weights->named(),
                                  *model.backend.device);
    return checkpoint::Safetensors(folder_ / "ours.safetensors");
  }
  fs::path hf() const { return folder_ / "hf"; }

  // The file of another writer: the same tensors but for a change.
  void rewrite(const std::function<void(std::vector<checkpoint::TensorStream>&)>& change) {
    const fs::path file = hf() / "model.safetensors";
    std::vector<checkpoint::TensorStream> streams;
    {
      const checkpoint::Safetensors before(file);
      for (const auto& entry : before.entries()) {
        const auto bytes = before.bytes(entry);
        const std::vector<uint8_t> copy(bytes.begin(), bytes.end());
        streams.push_back(
            {entry.name, DType::f32, entry.shape,
             [copy](const checkpoint::TensorStream::Sink& sink) { sink(copy.data(), copy.size()); }});
      }
    }
    change(streams);
    checkpoint::write_safetensors(file, streams);
  }

  fs::path folder_;
};

}  // namespace moe::interop
