// SPDX-License-Identifier: MIT
// A person at the keyboard of `moe chat`, or a file or pipe in place of one: lines, Ctrl-C and Ctrl-D.
#pragma once

#include <atomic>
#include <string>
#include <string_view>

#include "base/descriptor.h"
#include "base/terminal.h"
#include "cli/signal_thread.h"
#include "generate/chat_loop.h"

namespace moe::cli {

// Ctrl-C as a thing to look at.
class InterruptKey {
 public:
  // Make it before any other thread, as SignalThread says.
  InterruptKey();

  // Until here the key ends the program, as ever.
  void listen() { listening_ = true; }
  // Since it was last asked. Who presses again before anyone has asked ends the program.
  bool pressed();
  int descriptor() const { return event_.get(); }  // readable while it is pressed

 private:
  void taken();

  Descriptor event_;
  std::atomic<bool> listening_{false}, waiting_{false};
  SignalThread thread_;
};

// Standard input and output. Where a person types, there is a prompt, on standard error.
class Keyboard final : public generate::ChatTerminal {
 public:
  // key: null where nobody types. Both must outlive this.
  Keyboard(InterruptKey* key, Terminal& terminal) : key_(key), terminal_(terminal) {}

  Input read(bool continued) override;
  void write(std::string_view text) override;
  void say(const std::string& text) override { terminal_.line(text); }

 private:
  // More bytes, or the end of them; false: the key was pressed.
  bool fill();

  InterruptKey* key_;
  Terminal& terminal_;
  std::string buffer_;
  bool ended_ = false, begun_ = false;
};

}  // namespace moe::cli
