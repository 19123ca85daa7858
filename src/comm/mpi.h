// SPDX-License-Identifier: MIT
// Ranks as processes over MPI, on host memory; CMake builds mpi_present.cpp or mpi_absent.cpp.
#pragma once

#include <memory>
#include <string>

#include "comm/communicator.h"
#include "comm/launch.h"

namespace moe::comm {

// Why there is none: "" when this build has MPI.
std::string why_no_mpi();
// Starts MPI and ends it with the object: once in a process, from the thread that makes all calls. Throws
// UserError when the build has no MPI, or when MPI's ranks are not those of `launch` (a program started
// without mpirun is a world of one).
std::unique_ptr<Communicator> make_mpi(const Launch& launch,
                                       std::chrono::milliseconds timeout = kRankTimeout);

}  // namespace moe::comm
