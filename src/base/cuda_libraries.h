// SPDX-License-Identifier: MIT
// Where CUDA's libraries may be. The program opens them when it needs them (base/shared_library.h). They come
// with the toolkit, with the distribution, or as Python wheels, whose folders no loader knows.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace moe {

// One that the program can use.
struct CudaLibrary {
  std::string file;          // "libnccl.so.2"
  std::string wheel_folder;  // where its wheel has it, below site-packages: "nvidia/nccl/lib"
  std::string built_with;    // the folder that the build saw it in; "": none
};

// What the search starts from.
struct CudaPlaces {
  // The program, as it was called and where links lead to: an installer of Python packages may link into its
  // cache, where libraries of other packages do not lie beside it.
  std::vector<std::filesystem::path> program;
  std::string toolkit;  // CUDA_PATH; "": not set
  std::string python;   // VIRTUAL_ENV, the Python environment that is active; "": none

  static CudaPlaces of_process();
};

// The paths to try, in this order: the name alone, which goes by the loader's search (LD_LIBRARY_PATH,
// RPATH); the toolkit that CUDA_PATH names; wheels beside the program (it lies in their site-packages, in the
// environment's bin, or in a clone whose .deps/cuda has them); wheels of the active Python environment; what
// the build saw; where toolkits usually are. Of the wheels' folders, those that exist.
std::vector<std::string> cuda_library_paths(const CudaLibrary& library,
                                            const CudaPlaces& places = CudaPlaces::of_process());

// What became of the search, for people.
struct CudaLibraryState {
  std::string name;     // "cuBLASLt"
  std::string path;     // of the file; "": none could be opened
  std::string version;  // "13.1.0"
  std::string problem;  // why it cannot be used; "": it can
  std::string hint;     // what to do about it
};
// open: gives the file's path, and its version as 10000 major + 100 minor + patch. A UserError of it is the
// problem.
CudaLibraryState cuda_library_state(const std::string& name,
                                    const std::function<std::pair<std::string, size_t>()>& open);

}  // namespace moe
