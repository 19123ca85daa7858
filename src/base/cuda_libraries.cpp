// SPDX-License-Identifier: MIT
#include "base/cuda_libraries.h"

#include <fmt/format.h>
#include <sys/auxv.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <system_error>

#include "base/error.h"

namespace moe {
namespace {

namespace fs = std::filesystem;

// Of folders above the program: site-packages/NAME/bin/moe, CLONE/build/PRESET/moe.
constexpr int kLevels = 4;

std::string environment(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// The site-packages of a Python environment, one for each of its versions.
std::vector<fs::path> site_packages(const fs::path& root) {
  std::vector<fs::path> folders;
  std::error_code none;
  for (fs::directory_iterator entry(root / "lib", none), end; !none && entry != end; entry.increment(none))
    if (entry->path().filename().string().starts_with("python3"))
      folders.push_back(entry->path() / "site-packages");
  std::sort(folders.begin(), folders.end());
  return folders;
}

void add_existing(const fs::path& folder, const CudaLibrary& library, std::vector<std::string>& paths) {
  std::error_code none;
  const fs::path wheel = folder / library.wheel_folder;
  if (fs::is_directory(wheel, none)) paths.push_back((wheel / library.file).string());
}

void add_beside(const fs::path& program, const CudaLibrary& library, std::vector<std::string>& paths) {
  fs::path folder = program.parent_path();
  for (int level = 0; level < kLevels && folder != folder.root_path(); ++level) {
    add_existing(folder, library, paths);
    for (const fs::path& packages : site_packages(folder)) add_existing(packages, library, paths);
    add_existing(folder / ".deps" / "cuda", library, paths);
    folder = folder.parent_path();
  }
}

}  // namespace

CudaPlaces CudaPlaces::of_process() {
  std::error_code none;
  CudaPlaces places{{}, environment("CUDA_PATH"), environment("VIRTUAL_ENV")};
  const auto* const called = std::bit_cast<const char*>(getauxval(AT_EXECFN));
  if (called != nullptr) places.program.push_back(fs::absolute(called, none).lexically_normal());
  const fs::path real = fs::read_symlink("/proc/self/exe", none);
  if (!real.empty() && (called == nullptr || real != places.program.front())) places.program.push_back(real);
  return places;
}

std::vector<std::string> cuda_library_paths(const CudaLibrary& library, const CudaPlaces& places) {
  std::vector<std::string> paths{library.file};
  if (!places.toolkit.empty()) paths.push_back((fs::path(places.toolkit) / "lib64" / library.file).string());
  for (const fs::path& program : places.program) add_beside(program, library, paths);
  if (!places.python.empty())
    for (const fs::path& packages : site_packages(places.python)) add_existing(packages, library, paths);
  if (!library.built_with.empty()) paths.push_back((fs::path(library.built_with) / library.file).string());
  for (const char* const usual : {"/usr/local/cuda/lib64", "/opt/cuda/lib64"})
    paths.push_back((fs::path(usual) / library.file).string());
  return paths;
}

CudaLibraryState cuda_library_state(const std::string& name,
                                    const std::function<std::pair<std::string, size_t>()>& open) {
  CudaLibraryState state{.name = name, .path = {}, .version = {}, .problem = {}, .hint = {}};
  try {
    const auto [path, version] = open();
    state.path = path;
    state.version = fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
  } catch (const UserError& error) {
    state.problem = error.where + ": found " + error.found;
    state.hint = error.hint;
  }
  return state;
}

}  // namespace moe
