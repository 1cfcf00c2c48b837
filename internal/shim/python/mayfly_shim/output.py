"""Output lines, each marked with the call that wrote it."""

import contextvars
import io
import os
import threading

CALL = contextvars.ContextVar("call", default=None)  # the Request that the current code works for
LINE = 64 << 10  # longest line of the log in characters


class Log(io.TextIOBase):
    """stdout or stderr, a line at a time, each marked with the call that wrote it."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, fd):
        self.fd = fd
        self.buffer = open(fd, "wb", buffering=0, closefd=False)
        self.forked()
        os.register_at_fork(after_in_child=self.forked)

    def forked(self):
        """Resets a forked child: no thread is left to release the lock, and unfinished
        lines are the parent's."""
        self.lock = threading.RLock()
        self.begun = {}  # by call: its unfinished line

    def writable(self):
        return True

    def fileno(self):
        return self.fd

    def write(self, text):
        request = CALL.get()
        call = request.call if request else ""
        with self.lock:
            text_so_far = self.begun.pop(call, "") + text
            lines, end, rest = text_so_far.rpartition("\n")
            if len(rest) > LINE:
                keep = (len(rest) - 1) % LINE + 1  # never nothing: the line's end may come next
                lines, end, rest = text_so_far[:-keep], "\n", rest[-keep:]
            if rest:
                self.begun[call] = rest
            if end:
                self.put(call, lines)
        return len(text)

    def finish(self, request):
        """Ends a call's unfinished line."""
        if self.begun:
            with self.lock:
                rest = self.begun.pop(request.call if request else "", "")
                if rest:
                    self.put(request.call if request else "", rest)

    def put(self, call, lines):
        mark = f"\x1e{call}\x1e" if call else ""
        data = "".join(f"{mark}{line}\n" for line in lines.split("\n")).encode("utf-8", "backslashreplace")
        try:
            while data:
                data = data[os.write(self.fd, data) :]
        except OSError:
            pass  # the reader is gone


OUT, ERR = Log(1), Log(2)
