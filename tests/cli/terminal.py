# SPDX-License-Identifier: MIT
"""A program on a terminal of its own, for tests that type."""
import os
import pty
import re
import select
import time


class Terminal:
    def __init__(self, words, folder, seconds, environment=None):
        """seconds: the most that read_until() waits. environment: this process's."""
        self.seconds = seconds
        self.process, self.terminal = pty.fork()
        if self.process == 0:
            os.chdir(folder)
            os.execvpe(words[0], words, os.environ if environment is None else environment)
        self.seen = ""

    def type(self, text):
        os.write(self.terminal, text.encode())

    def read_until(self, pattern):
        """The match in what the terminal shows from now on."""
        deadline = time.monotonic() + self.seconds
        while not (found := re.search(pattern, self.seen)):
            left = deadline - time.monotonic()
            if left < 0 or not select.select([self.terminal], [], [], left)[0]:
                raise AssertionError(f"no {pattern} within {self.seconds} s in: {self.seen[-2000:]!r}")
            self.seen += os.read(self.terminal, 4096).decode(errors="replace")
        self.seen = self.seen[found.end():]
        return found

    def end(self):
        """How the program ended, by itself."""
        try:
            while os.read(self.terminal, 4096):
                pass
        except OSError:  # the other end is closed
            pass
        return self.close()

    def close(self):
        os.close(self.terminal)
        return os.waitpid(self.process, 0)[1]
