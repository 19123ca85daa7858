// SPDX-License-Identifier: MIT
// Tensors whose parts lie on many ranks, as files that rank 0 writes. What lies elsewhere comes to it piece by piece, when its
// turn in the file has come: no rank ever holds more than a piece of what is not its own.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "comm/communicator.h"
#include "tensor/device.h"
#include "tensor/parameter.h"

namespace moe {

// (file name, its tensors)
using PartFiles = std::vector<std::pair<std::string, std::vector<NamedPiece>>>;

// All ranks call it, each with what it has of the same tensors in the same order; together they have all. On rank 0 it calls
// `write`, whose streams ask the others, and throws what `write` throws; the others return when it is done, well or not.
// staging: flat u8 memory of the device for one piece; of any size if rank 0 has all.
void collect(const PartFiles& files, Communicator& communicator, const Tensor& staging, Device& device,
             const std::function<void(const CheckpointStore::Streams&)>& write);

}  // namespace moe
