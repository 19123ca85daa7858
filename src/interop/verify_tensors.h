// SPDX-License-Identifier: MIT
// Every tensor of a folder of the Hugging Face format against the checkpoint that was made of it, or that it
// was made of: read back from both disks, value by value, a piece at a time.
#pragma once

#include <cstdint>
#include <filesystem>

#include "checkpoint/safetensors.h"
#include "interop/export_weights.h"
#include "interop/family.h"
#include "model/config.h"

namespace moe::interop {

struct VerifiedTensors {
  int64_t tensors = 0, values = 0;
  bool exact = true;  // no value was rounded on its way
};

enum class Direction : uint8_t { imported, exported };

// What went from the one to the other, rounded to the type that it has there, must be what is there: the same
// bits. Throws UserError that names the first tensor that differs.
VerifiedTensors verify_tensors(const std::filesystem::path& folder, const model::ModelConfig& config,
                               const checkpoint::Safetensors& ours, const Family& family, Direction direction,
                               const OnBytes& on_bytes = {});

}  // namespace moe::interop
