// SPDX-License-Identifier: MIT
#pragma once

#include "base/error.h"

namespace moe {

// A disk, or a quota on it, that has no room: waiting or deleting may mend it.
struct DiskFull : UserError {
  using UserError::UserError;
};

}  // namespace moe
