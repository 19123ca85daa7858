// SPDX-License-Identifier: MIT
#include "base/shared_library.h"

#include <dlfcn.h>

#include "base/error.h"

namespace moe {

SharedLibrary::SharedLibrary(const std::vector<std::string>& paths) {
  for (const std::string& path : paths) {
    handle_ = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_ != nullptr) return;
  }
}

SharedLibrary::SharedLibrary(const std::vector<std::string>& paths, const std::string& name,
                             const std::string& expected, const std::string& hint)
    : SharedLibrary(paths) {
  name_ = name;
  if (!is_open()) throw UserError(name, expected, "none that the loader finds", hint);
}

SharedLibrary::~SharedLibrary() {
  if (is_open()) ::dlclose(handle_);
}

void* SharedLibrary::symbol(const char* name) const {
  return is_open() ? ::dlsym(handle_, name) : nullptr;
}

void* SharedLibrary::existing_symbol(const char* name) const {
  void* const found = symbol(name);
  CHECK(found != nullptr, name_ + " has no " + name);
  return found;
}

void* loaded_symbol(const char* name) {
  return ::dlsym(RTLD_DEFAULT, name);
}

}  // namespace moe
