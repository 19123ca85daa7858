// SPDX-License-Identifier: MIT
// Which hardware is asked for: training.device.
#pragma once

#include <cstdint>

#include "base/choices.h"

namespace moe {

enum class DeviceKind : uint8_t { automatic, cpu, gpu };  // automatic: a GPU if there is one
constexpr auto choices_of(DeviceKind) {
  return choices<DeviceKind>(
      {{DeviceKind::automatic, "auto"}, {DeviceKind::cpu, "cpu"}, {DeviceKind::gpu, "gpu"}});
}

}  // namespace moe
