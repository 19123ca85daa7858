// SPDX-License-Identifier: MIT
// The GPU half of make_backend; CMake builds gpu_present.cpp or gpu_absent.cpp.
#pragma once

#include "backend/backend.h"

namespace moe {

int gpus();          // that this build and this machine can use
Backend make_gpu();  // throws UserError when there is none

}  // namespace moe
