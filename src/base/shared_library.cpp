// SPDX-License-Identifier: MIT
#include "base/shared_library.h"

#include <dlfcn.h>
#include <link.h>

#include <filesystem>
#include <system_error>

#include "base/error.h"

namespace moe {
namespace {

namespace fs = std::filesystem;

// "/opt/cuda/lib64"; for a file that is there, the loader's words: "/opt/cuda/lib64/libx.so: file too short".
std::string place_of(const std::string& path) {
  const char* const problem = ::dlerror();
  if (path.find('/') == std::string::npos) return "the loader's own places";
  std::error_code none;
  if (!fs::exists(path, none)) return fs::path(path).parent_path().string();
  return problem == nullptr ? path : problem;
}

}  // namespace

SharedLibrary::SharedLibrary(const std::vector<std::string>& paths) {
  for (const std::string& path : paths) {
    handle_ = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_ != nullptr) return;
    tried_ += (tried_.empty() ? "" : ", ") + place_of(path);
  }
}

SharedLibrary::SharedLibrary(const std::vector<std::string>& paths, const std::string& name,
                             const std::string& expected, const std::string& hint)
    : SharedLibrary(paths) {
  expected_ = expected, hint_ = hint;
  if (!is_open()) throw UserError(name, expected, "none that opens in " + tried_, hint);
}

SharedLibrary::~SharedLibrary() {
  if (is_open()) ::dlclose(handle_);
}

std::string SharedLibrary::path() const {
  link_map* map = nullptr;
  if (!is_open() || ::dlinfo(handle_, RTLD_DI_LINKMAP, &map) != 0 || map == nullptr) return "";
  return map->l_name;
}

void* SharedLibrary::symbol(const char* name) const {
  return is_open() ? ::dlsym(handle_, name) : nullptr;
}

void* SharedLibrary::existing_symbol(const char* name) const {
  void* const found = symbol(name);
  if (found == nullptr)
    throw UserError(path(), expected_ + ", of a version that has " + name, "a version without it", hint_);
  return found;
}

void* loaded_symbol(const char* name) {
  return ::dlsym(RTLD_DEFAULT, name);
}

}  // namespace moe
