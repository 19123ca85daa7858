// SPDX-License-Identifier: MIT
#include "base/error.h"
#include "comm/mpi.h"

namespace moe {

std::string why_no_mpi() {
  return "this build has no MPI: run scripts/setup.sh libopenmpi-dev openmpi-bin, then build again";
}

std::unique_ptr<Communicator> make_mpi(const Launch& launch, std::chrono::milliseconds) {
  throw UserError(launch.by, "a build with MPI for ranks on CPUs", "one without",
                  "run scripts/setup.sh libopenmpi-dev openmpi-bin, then build again");
}

}  // namespace moe
