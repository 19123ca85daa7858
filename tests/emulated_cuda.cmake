# The CUDA backend on the CPU: src/gpu compiled as C++ against tests/emulated_cuda instead of CUDA's headers,
# and the tests of operations run on it. With MOE_GPU they run on the GPU itself as well.
find_package(Boost 1.74 REQUIRED COMPONENTS context)

file(GLOB gpu_cpp CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/src/gpu/*.cpp")
# The emulation has these functions itself.
list(FILTER gpu_cpp EXCLUDE REGEX "/(cublas_library|nvtx|nccl_[a-z]+)[.]cpp$")
file(GLOB gpu_cu CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/src/gpu/*.cu"
  "${CMAKE_SOURCE_DIR}/src/gpu/portable/*.cu"
  "${CMAKE_SOURCE_DIR}/src/gpu/sm90/*.cu")
file(GLOB emulation CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/emulated_cuda/*.cpp")
list(FILTER emulation EXCLUDE REGEX "_test[.]cpp$")
set_source_files_properties(${gpu_cu} PROPERTIES LANGUAGE CXX)
add_library(moe_gpu_emulated STATIC ${gpu_cpp} ${gpu_cu} ${emulation}
  "${CMAKE_SOURCE_DIR}/src/backend/backend.cpp" "${CMAKE_SOURCE_DIR}/src/backend/gpu_present.cpp"
  $<TARGET_OBJECTS:moe_gemm_algorithms>)
target_include_directories(moe_gpu_emulated BEFORE PUBLIC "${CMAKE_CURRENT_SOURCE_DIR}/emulated_cuda"
  "${CMAKE_CURRENT_SOURCE_DIR}")
# "#pragma unroll" is for nvcc; a note on CUtensorMap, of 64-byte alignment, says that GCC 4.5 passed it
# otherwise. Clang knows the pragma, and tells of each loop that it does not unroll.
target_compile_options(moe_gpu_emulated PRIVATE -Wno-unknown-pragmas -Wno-psabi
  $<$<CXX_COMPILER_ID:Clang>:-Wno-pass-failed>)
target_link_libraries(moe_gpu_emulated PUBLIC moe_options moe_cpu fmt::fmt nlohmann_json::nlohmann_json
  Boost::context)

moe_precompiled(moe_gpu_emulated library)

# moe_gpu_tests(NAME BACKEND FILTER): the tests of operations and of the model, compiled once (moe_tests), on
# the GPU of that library.
# Their environment comes with the command, as of an emulator: gtest_discover_tests takes lists of properties
# apart, so that of ENVIRONMENT only the first variable is set.
set(on_gpu "${CMAKE_COMMAND};-E;env;MOE_TEST_DEVICE=gpu;XDG_CACHE_HOME=${CMAKE_CURRENT_BINARY_DIR}/cache")
set(on_cpu_only "VectorTest*:GemmTest*:CpuDeviceTest*")
function(moe_gpu_tests name backend filter)
  add_executable(${name})
  target_link_libraries(${name} PRIVATE moe_ops_test_objects moe_model_test_objects moe_model moe_optim
    ${backend} moe_checkpoint OpenSSL::Crypto)
  set_target_properties(${name} PROPERTIES CROSSCOMPILING_EMULATOR "${on_gpu}")
  gtest_discover_tests(${name} TEST_PREFIX "${name}." DISCOVERY_TIMEOUT 60 DISCOVERY_MODE PRE_TEST
    TEST_FILTER "${filter}" PROPERTIES TIMEOUT ${MOE_TEST_SECONDS})
endfunction()

if(NOT MOE_SANITIZE MATCHES "thread")  # which does not know fibres
  # Without what runs the model hundreds of times.
  moe_gpu_tests(emulated_gpu moe_gpu_emulated
    "-${on_cpu_only}:Model/Golden.*FiniteDifferences*:*Trajectory*:*Overfit*:Flops*:Capacity*:*Schedules*")
  # Once more as a Hopper GPU, which has kernels of its own for some operations.
  gtest_discover_tests(emulated_gpu TEST_PREFIX "emulated_hopper." TEST_LIST emulated_hopper
    DISCOVERY_MODE PRE_TEST TEST_FILTER "GroupedMatmul*:Experts*:Attention*:*Schedules*" PROPERTIES
    TIMEOUT ${MOE_TEST_SECONDS} ENVIRONMENT EMULATED_CUDA_GENERATION=9)
  # Of the emulation itself, and of which kernels run.
  target_sources(emulated_gpu PRIVATE emulated_cuda/mma_test.cpp emulated_cuda/kernels_test.cpp
    emulated_cuda/schedules_test.cpp emulated_cuda/token_of_slot_test.cpp
    emulated_cuda/gemm_algorithms_test.cpp emulated_cuda/workspace_test.cpp)
  target_include_directories(emulated_gpu BEFORE PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}/emulated_cuda")
  target_compile_options(emulated_gpu PRIVATE -Wno-unknown-pragmas)
endif()
if(MOE_GPU)
  moe_gpu_tests(gpu moe_backend "-${on_cpu_only}")
  target_sources(gpu PRIVATE emulated_cuda/schedules_test.cpp)
  # Once more with the kernels that every GPU can run, where a Hopper GPU has others for the same operations.
  gtest_discover_tests(gpu TEST_PREFIX "gpu_portable." TEST_LIST gpu_portable DISCOVERY_MODE PRE_TEST
    TEST_FILTER "GroupedMatmul*:Experts*:Attention*:Model*" PROPERTIES TIMEOUT ${MOE_TEST_SECONDS}
    ENVIRONMENT MOE_GPU_KERNELS=portable)
endif()
