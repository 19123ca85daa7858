// SPDX-License-Identifier: MIT
#include "base/error.h"
#include "comm/mpi.h"

namespace moe::comm {

namespace {
constexpr const char* kWhatToDo = "run scripts/setup.sh libopenmpi-dev openmpi-bin, then build again";
}

std::string why_no_mpi() {
  return std::string("this build has no MPI: ") + kWhatToDo;
}

std::unique_ptr<Communicator> make_mpi(const Launch& launch, std::chrono::milliseconds) {
  throw UserError(launch.by, "a build with MPI for ranks on CPUs", "one without", kWhatToDo);
}

}  // namespace moe::comm
