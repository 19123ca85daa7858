// SPDX-License-Identifier: MIT
// For files that grow record by record on a disk that may be full for a while: what does not fit waits in
// memory, in order and up to a bound, until there is room again. What is lost is counted, and said at the
// end.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>

#include "base/terminal.h"

namespace moe {

// All of the bytes behind the first `size` of the file, where it then ends, or none of them: false, with
// errno.
bool append_whole(int descriptor, std::string_view bytes, int64_t& size);

class Backlog {
 public:
  static constexpr int64_t kMost = int64_t{64} << 20;  // bytes that wait

  // where: the file, for the words; records: what they are, "rows". write: true, or false with errno and the
  // file as it was.
  Backlog(std::string where, std::string records, std::function<bool(std::string_view)> write,
          Terminal& terminal, int64_t most = kMost);
  // Says what finish() would say.
  ~Backlog();
  Backlog(const Backlog&) = delete;
  Backlog& operator=(const Backlog&) = delete;

  // Writes what waits, then this one. False where neither the disk nor the memory has room: then it is lost.
  bool add(std::string record);
  // Tries once more, and says what is lost.
  void finish();

 private:
  bool drain();

  const std::string where_, records_;
  const std::function<bool(std::string_view)> write_;
  Terminal& terminal_;
  const int64_t most_;
  std::deque<std::string> waiting_;
  int64_t bytes_ = 0;             // waiting
  int64_t added_ = 0, lost_ = 0;  // records
  bool late_ = false;             // some wait, or did until now
  bool finished_ = true;          // nothing was added since finish()
};

}  // namespace moe
