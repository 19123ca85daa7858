// SPDX-License-Identifier: MIT
// Libraries that are opened when the program runs and not linked with it: it starts where they are missing.
#pragma once

#include <string>
#include <vector>

namespace moe {

class SharedLibrary {
 public:
  // The first of these files that can be opened. A name without a folder goes by the loader's own search.
  // is_open() says whether there is one.
  explicit SharedLibrary(const std::vector<std::string>& paths);
  // For what a run cannot do without. Throws UserError: `name`, what was expected, the places that were
  // looked at, why a file that is there does not open, and the hint.
  SharedLibrary(const std::vector<std::string>& paths, const std::string& name, const std::string& expected,
                const std::string& hint);
  ~SharedLibrary();
  SharedLibrary(const SharedLibrary&) = delete;
  SharedLibrary& operator=(const SharedLibrary&) = delete;

  bool is_open() const { return handle_ != nullptr; }
  // Of the file that was opened; "": none was.
  std::string path() const;
  // Null: the library has no such function, or is not open.
  template <class Function>
  Function* find(const char* name) const {
    return reinterpret_cast<Function*>(symbol(name));
  }
  // Throws UserError where the library is a version that lacks the function.
  template <class Function>
  Function* get(const char* name) const {
    return reinterpret_cast<Function*>(existing_symbol(name));
  }

 private:
  void* symbol(const char* name) const;
  void* existing_symbol(const char* name) const;

  std::string expected_, hint_;
  std::string tried_;  // words for the places, while none opens
  void* handle_ = nullptr;
};

void* loaded_symbol(const char* name);
// A function of what the program has loaded already, whoever brought it; null: there is none.
template <class Function>
Function* find_loaded(const char* name) {
  return reinterpret_cast<Function*>(loaded_symbol(name));
}

}  // namespace moe
