// SPDX-License-Identifier: MIT
// The kernels for Hopper (H100, H200), as a provider.
#pragma once

#include <memory>

#include "gpu/provider.h"

namespace moe::gpu {

std::unique_ptr<Provider> sm90_provider(const Launcher& launcher);

}  // namespace moe::gpu
