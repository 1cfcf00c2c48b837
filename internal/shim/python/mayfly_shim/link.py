"""The connection to the node: frames of many calls, mixed. docs/frames.md describes it.

    frames() ◄── recv ◄── the node ◄── one send for all that has been gathered ◄── send()

signal and socket are the modules in C below those of Python, which bring enum and selectors:
a tenth of a start.
"""

import _signal as signal
import _socket as socket
import os
import struct
import threading

from .output import ERR

PREFACE = b"MFL\x01"
HEADER = struct.Struct(">IIBBH")  # sizes of all and of the head around call, kind and flags
NUMBER = struct.Struct(">I")
HEAD, DATA, ERROR, CREDIT, CANCEL = range(1, 6)
END = 1
BODY = 64 << 10  # most bytes of body in a frame
WINDOW = 128 << 10  # bytes of body that each side may send per call before it is granted more
READ = 128 << 10
SIGNALS = signal.SIGTERM, signal.SIGINT
PATIENCE = 3.5  # seconds for calls to finish after SIGTERM; after 5, the node kills us
LAST = 0.5  # seconds for calls to end once they are told to


class Link:
    """One connection. Who reads it and who writes it is up to the server."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)
        self.into = memoryview(bytearray(READ))  # used again: to make one so large takes several system calls
        self.rest = b""  # the beginning of a frame
        self.out = []  # frames to be written
        self.writing = threading.Lock()
        self.calls = {}  # the ones that are not over, by number
        self.child = False  # this is a forked child, which has no connection
        self.greeted = False
        self.sock.sendall(PREFACE)  # calls may come

    def read(self, flags=0):
        """What has come, or nothing at the end, or None if it would have to wait and must not."""
        try:
            return bytes(self.into[: self.sock.recv_into(self.into, READ, flags)])
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def frames(self, data):
        """The frames in what has come: number of the call, kind, flags, head and body."""
        if self.rest:
            data = self.rest + data
        at, end = 0, len(data)
        if not self.greeted:
            at = self.greet(data)
        unpack = HEADER.unpack_from
        while end - at >= 12 and self.greeted:
            size, number, kind, flags, head = unpack(data, at)
            if not number or flags > END or size - head > BODY or head > size or not 1 <= kind <= CANCEL or (kind != HEAD and kind != DATA and not fits(kind, size, head)) or kind == DATA and head:
                leave(wrong(size, number, kind, flags, head))
            start = at + 12
            if start + size > end:
                break
            at = start + size
            yield number, kind, flags, data[start : start + head], data[start + head : at]
        self.rest = data[at:]

    def greet(self, data):
        """Checks the node's preface, and returns its length once it is there."""
        said = data[: len(PREFACE)]
        if not PREFACE.startswith(said):
            leave(f"the node speaks another version of frames: its preface is {said!r}, not {PREFACE!r}")
        self.greeted = said == PREFACE
        return len(said) if self.greeted else 0

    def send(self, number, kind, flags, head=b"", body=b""):
        """Gathers a frame, which the next flush writes."""
        self.out.append(HEADER.pack(len(head) + len(body), number, kind, flags, len(head)) + head + body)

    def flush(self):
        """Writes what was gathered, unless another thread does: then that one writes it. The
        node always reads, however slow a client is, so this does not wait for a client."""
        out = self.out
        while out and self.writing.acquire(False):
            try:
                count = len(out)
                data = out[0] if count == 1 else b"".join(out[:count])
                del out[:count]
                self.sock.sendall(data)
            except OSError:
                pass  # whoever reads finds out
            finally:
                self.writing.release()

    def stay_out_of_children(self, forked):
        """Makes a forked child an ordinary process: signals end it, and it has no link."""

        def after():
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self.child = True
            self.sock.close()
            self.writing = threading.Lock()
            forked()
            unblock()

        os.register_at_fork(before=block, after_in_parent=unblock, after_in_child=after)


def block():
    """Blocks signals during a fork: one that arrived before the child has its own
    handlers would be lost."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def unblock():
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def fits(kind, size, head):
    """Whether there is such a frame of a kind that is rare."""
    return kind == ERROR or head == 0 and size == (4 if kind == CREDIT else 0)


def wrong(size, number, kind, flags, head):
    """Why there is no such frame."""
    if not number:
        return "the node sent a frame of no call"
    if not 1 <= kind <= CANCEL:
        return f"the node sent a frame of the unknown kind {kind}"
    if flags > END:
        return f"the node sent a frame with the unknown flags {flags:#x}"
    return f"the node sent a frame of kind {kind} and {size} bytes, {head} of them head"


def leave(why):
    """Ends the process, which can have no more calls."""
    ERR.write(f"{why}\n")
    os._exit(1)
