// SPDX-License-Identifier: MIT
// NCCL without linking to it, as cublas_library.cpp does: one rank needs none. MOE_NCCL_LIBRARY (environment)
// names the file; else base/cuda_libraries.h says where it is looked for.
#include <nccl.h>

#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "base/cuda_libraries.h"
#include "base/shared_library.h"
#include "gpu/libraries.h"

namespace {

// It stays open.
const moe::SharedLibrary& library() {
  static const auto* const opened = [] {
    const char* const chosen = std::getenv("MOE_NCCL_LIBRARY");
    const std::string name = "libnccl.so.2";
    const std::vector<std::string> paths =
        chosen != nullptr && *chosen != '\0'
            ? std::vector<std::string>{chosen}
            : moe::cuda_library_paths({name, "nvidia/nccl/lib", MOE_NCCL_FOLDER});
    return new moe::SharedLibrary(
        paths, name, "NVIDIA's library for many GPUs (NCCL 2)",
        "pip install nvidia-nccl-cu13 beside the program (moe-cpp[cuda] brings it), or install libnccl2, or "
        "set MOE_NCCL_LIBRARY to the path of libnccl.so.2; one GPU needs none");
  }();
  return *opened;
}

}  // namespace

moe::CudaLibraryState moe::gpu::nccl_state() {
  return cuda_library_state("NCCL", [] {
    int version = 0;  // 22809 is 2.28.9
    if (ncclGetVersion(&version) != ncclSuccess) version = 0;
    return std::pair(library().path(), static_cast<size_t>(version));
  });
}

// The library's function of the same name and type.
#define REAL(function) static auto* const real = library().get<decltype(function)>(#function)

ncclResult_t ncclGetVersion(int* version) {
  REAL(ncclGetVersion);
  return real(version);
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  REAL(ncclGetUniqueId);
  return real(id);
}

ncclResult_t ncclCommInitRank(ncclComm_t* comm, int size, ncclUniqueId id, int rank) {
  REAL(ncclCommInitRank);
  return real(comm, size, id, rank);
}

ncclResult_t ncclCommSplit(ncclComm_t comm, int color, int key, ncclComm_t* part, ncclConfig_t* config) {
  REAL(ncclCommSplit);
  return real(comm, color, key, part, config);
}

ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  REAL(ncclCommDestroy);
  return real(comm);
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* error) {
  REAL(ncclCommGetAsyncError);
  return real(comm, error);
}

const char* ncclGetErrorString(ncclResult_t result) {
  REAL(ncclGetErrorString);
  return real(result);
}

const char* ncclGetLastError(ncclComm_t comm) {
  REAL(ncclGetLastError);
  return real(comm);
}

ncclResult_t ncclAllReduce(const void* from, void* to, size_t count, ncclDataType_t type, ncclRedOp_t op,
                           ncclComm_t comm, cudaStream_t stream) {
  REAL(ncclAllReduce);
  return real(from, to, count, type, op, comm, stream);
}

ncclResult_t ncclReduce(const void* from, void* to, size_t count, ncclDataType_t type, ncclRedOp_t op,
                        int root, ncclComm_t comm, cudaStream_t stream) {
  REAL(ncclReduce);
  return real(from, to, count, type, op, root, comm, stream);
}

ncclResult_t ncclReduceScatter(const void* from, void* to, size_t count, ncclDataType_t type, ncclRedOp_t op,
                               ncclComm_t comm, cudaStream_t stream) {
  REAL(ncclReduceScatter);
  return real(from, to, count, type, op, comm, stream);
}

ncclResult_t ncclAllGather(const void* from, void* to, size_t count, ncclDataType_t type, ncclComm_t comm,
                           cudaStream_t stream) {
  REAL(ncclAllGather);
  return real(from, to, count, type, comm, stream);
}

ncclResult_t ncclBroadcast(const void* from, void* to, size_t count, ncclDataType_t type, int root,
                           ncclComm_t comm, cudaStream_t stream) {
  REAL(ncclBroadcast);
  return real(from, to, count, type, root, comm, stream);
}

ncclResult_t ncclSend(const void* from, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  REAL(ncclSend);
  return real(from, count, type, peer, comm, stream);
}

ncclResult_t ncclRecv(void* to, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  REAL(ncclRecv);
  return real(to, count, type, peer, comm, stream);
}

ncclResult_t ncclGroupStart() {
  REAL(ncclGroupStart);
  return real();
}

ncclResult_t ncclGroupEnd() {
  REAL(ncclGroupEnd);
  return real();
}
