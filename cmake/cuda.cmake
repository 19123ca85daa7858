# CUDA for src/gpu: the compiler, the toolkit's libraries, and for which GPUs to compile. 90a is Hopper with
# its own instructions; the last entry is kept as PTX too, which newer GPUs translate when the program starts.
# scripts/preset.sh --nvcc says which compiler: the toolkit's, or that of the wheels in .deps/cuda.
if(NOT CMAKE_CUDA_COMPILER)
  execute_process(COMMAND "${CMAKE_SOURCE_DIR}/scripts/preset.sh" --nvcc
    OUTPUT_VARIABLE _nvcc OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(_nvcc)
    set(CMAKE_CUDA_COMPILER "${_nvcc}" CACHE FILEPATH "nvcc")
  endif()
endif()
if(NOT CMAKE_CUDA_COMPILER)
  message(FATAL_ERROR "MOE_GPU needs the CUDA toolkit (13 or newer), and nvcc of that was not found. "
    "Hint: PRESET=gpu scripts/setup.sh brings it as wheels. Or install the toolkit, or name it with "
    "-DCMAKE_CUDA_COMPILER=PATH, or build for the CPU: cmake --preset cpu")
endif()
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  # Those of this machine, where there are any: the whole list takes several times as long.
  execute_process(COMMAND "${CMAKE_SOURCE_DIR}/scripts/preset.sh" --architectures
    OUTPUT_VARIABLE _architectures OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(NOT _architectures)
    set(_architectures "80-real;86-real;89-real;90a-real;100-real;120")
  endif()
  set(CMAKE_CUDA_ARCHITECTURES "${_architectures}" CACHE STRING "GPUs to compile for")
endif()
if(MOE_CCACHE AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
  set(CMAKE_CUDA_COMPILER_LAUNCHER "${MOE_CCACHE}")
endif()
set(CMAKE_CUDA_STANDARD 17)  # for the test of the compiler: see below
enable_language(CUDA)
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 does not know that nvcc 13 has C++20
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
endif()
set(CMAKE_CUDA_STANDARD 20)
# Wheels have libcudart.so.13 alone. CMake looks for libcudart.so, to find the folder of the static one by it.
get_filename_component(_cuda_root "${CMAKE_CUDA_COMPILER}" REALPATH)
get_filename_component(_cuda_root "${_cuda_root}/../.." ABSOLUTE)
if(NOT EXISTS "${_cuda_root}/lib64")
  file(GLOB _cudart "${_cuda_root}/lib/libcudart.so.[0-9]*")
  if(_cudart)
    list(GET _cudart 0 _cudart)
    set(CUDA_CUDART "${_cudart}" CACHE FILEPATH "CUDA's runtime library")
  endif()
endif()
find_package(CUDAToolkit 13 REQUIRED)

# Optional: many GPUs. Only the header is needed here, of libnccl-dev or of the wheel nvidia-nccl-cu13 (in
# .deps/cuda, .deps/venv or any folder named by NCCL_INCLUDE_DIR); gpu/nccl_library.cpp finds the library when
# a run has several ranks.
file(GLOB _wheel_folders "${CMAKE_SOURCE_DIR}/.deps/cuda/nvidia/nccl/include"
  "${CMAKE_SOURCE_DIR}/.deps/venv/lib/python3*/site-packages/nvidia/nccl/include")
find_path(NCCL_INCLUDE_DIR nccl.h HINTS ${_wheel_folders})
if(NCCL_INCLUDE_DIR)
  get_filename_component(MOE_NCCL_FOLDER "${NCCL_INCLUDE_DIR}/../lib" ABSOLUTE)
endif()

# gpu_options carries nvcc's flags; moe_options is for the host compiler.
add_library(gpu_options INTERFACE)
target_include_directories(gpu_options INTERFACE "${CMAKE_SOURCE_DIR}/src")
set(_options --expt-relaxed-constexpr --extended-lambda -Xcompiler=-Wall,-Wextra)
if(MOE_WERROR)
  list(APPEND _options -Werror=all-warnings)
endif()
target_compile_options(gpu_options INTERFACE "$<$<COMPILE_LANGUAGE:CUDA>:${_options}>")
