// SPDX-License-Identifier: MIT
// One list of checks (comm/contract.h) for all communicators of the host, and what they say of ranks that are
// gone.
#include <gmock/gmock.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "comm/contract.h"
#include "comm/mpi.h"
#include "comm/solo.h"
#include "support/thread_ranks.h"

namespace moe::comm {
namespace {

using testing::Each;
using testing::HasSubstr;
using testing::StartsWith;

TEST(Communicator, AloneHoldsTheContract) {
  SoloCommunicator solo;
  check_contract(solo);
}

TEST(Communicator, ThreadsHoldTheContract) {
  for (const int size : {1, 2, 3, 4, 7})
    EXPECT_THAT(test::on_threads(size, check_contract), Each("")) << size;
}

// As a rank of MPI when mpirun has started it; else it starts itself so. All ranks must succeed.
TEST(Communicator, MpiHoldsTheContract) {
  if (std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr) {
    const auto mpi = make_mpi(find_launch({}, [](const char* name) { return std::getenv(name); }));
    return check_contract(*mpi);
  }
  if (!why_no_mpi().empty()) GTEST_SKIP() << why_no_mpi();
  if (std::system("command -v mpirun >/dev/null") != 0)
    GTEST_SKIP() << "no mpirun here: scripts/setup.sh openmpi-bin";
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
  for (const int size : {2, 3, 4}) {
    const std::string command =
        "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 ASAN_OPTIONS=detect_leaks=0 mpirun "
        "--oversubscribe -n " +
        std::to_string(size) + " '" + self + "' --gtest_filter=Communicator.MpiHoldsTheContract 2>&1";
    EXPECT_EQ(std::system(command.c_str()), 0) << size;
  }
}

// A rank that comes a little later than the others wait is let in.
TEST(Communicator, MpiLetsALateRankIn) {
  constexpr std::chrono::milliseconds kWait(500);
  if (std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr) {
    const auto mpi = make_mpi(find_launch({}, [](const char* name) { return std::getenv(name); }), kWait);
    for (int turn = 0; turn < 2; ++turn) {
      if (mpi->rank() == 1) std::this_thread::sleep_for(3 * kWait);  // answers nobody meanwhile
      EXPECT_EQ(mpi->sum(mpi->rank()), mpi->size() * (mpi->size() - 1) / 2);
    }
    return;
  }
  if (!why_no_mpi().empty()) GTEST_SKIP() << why_no_mpi();
  if (std::system("command -v mpirun >/dev/null") != 0)
    GTEST_SKIP() << "no mpirun here: scripts/setup.sh openmpi-bin";
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
  const std::string command =
      "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 ASAN_OPTIONS=detect_leaks=0 mpirun "
      "--oversubscribe "
      "-n 3 '" +
      self + "' --gtest_filter=Communicator.MpiLetsALateRankIn 2>&1";
  EXPECT_EQ(std::system(command.c_str()), 0);
}

TEST(Communicator, ARankThatIsGoneOrHangsIsNamedByAllOthers) {
  const auto died = test::on_threads(3, [](Communicator& comm) {
    comm.barrier();
    if (comm.rank() == 1) throw UserError("disk", "room", "none");
    comm.barrier();
  });
  EXPECT_THAT(died[1], StartsWith("disk"));
  for (const size_t r : {0U, 2U})
    EXPECT_THAT(died[r], HasSubstr("rank 1 of 3: expected its part in the work of all"));

  const auto hung = test::on_threads(
      3,
      [](Communicator& comm) {
        if (comm.rank() == 2) std::this_thread::sleep_for(std::chrono::milliseconds(600));
        comm.barrier();
      },
      std::chrono::milliseconds(200));
  for (const size_t r : {0U, 1U}) EXPECT_THAT(hung[r], HasSubstr("rank 2 of 3"));

  const auto told = test::on_threads(2, [](Communicator& comm) {
    if (comm.rank() == 0) return comm.abort("the lamp went out");
    comm.barrier();
  });
  EXPECT_THAT(told[1], HasSubstr("the lamp went out"));
}

TEST(Communicator, AnErrorOfOneRankIsOneOfAll) {
  const auto one = test::on_threads(3, [](Communicator& comm) {
    propagate_errors(comm, [] {});
    propagate_errors(comm, [&] {
      if (comm.rank() == 1) throw UserError("text.jsonl", "text", "a hole", "fill it");
    });
  });
  EXPECT_THAT(one, Each("rank 1: text.jsonl: expected text, found a hole. Hint: fill it"));
  const auto all = test::on_threads(3, [](Communicator& comm) {
    propagate_errors(comm, [] { throw UserError("text.jsonl", "", "gone"); });
  });
  EXPECT_THAT(all, Each("text.jsonl: gone"));
  SoloCommunicator solo;
  EXPECT_THROW(propagate_errors(solo, [] { throw UserError("a", "b", "c"); }), UserError);
}

}  // namespace
}  // namespace moe::comm
