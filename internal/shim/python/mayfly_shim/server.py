"""The listening socket."""

import os
import select
import signal
import socket
import threading
import time

from .connection import Connection
from .output import ERR

CONNECTIONS = 1024  # most open at once; further ones wait
SIGNALS = signal.SIGTERM, signal.SIGINT
TICK = 0.5  # seconds between checks for disconnected clients
PATIENCE = 3.5  # seconds for calls to finish after SIGTERM; after 5, the node kills us


class Server:
    """Accepts and supervises connections in the main thread."""

    def __init__(self, path, answer):
        self.answer = answer
        self.stopping = False
        self.lock = threading.Lock()
        self.connections = set()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(CONNECTIONS)

    def run(self):
        """Serves until SIGTERM, then finishes the calls in flight, or interrupts them at the
        deadline, which it returns."""
        self.signals, told = os.pipe()
        os.set_blocking(told, False)
        signal.set_wakeup_fd(told, warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, self.stop)
        os.register_at_fork(before=block, after_in_parent=unblock, after_in_child=self.forked)
        while not self.stopping:
            self.accept()
        deadline = time.monotonic() + PATIENCE
        self.listener.close()
        with self.lock:
            for c in self.connections:
                if c.request is None:
                    c.wake()
        if not self.ended(deadline):
            with self.lock:
                for c in self.connections:
                    c.interrupt()
            self.ended(deadline + TICK)
        return deadline

    def ended(self, deadline):
        """Waits for all connections to end, and returns whether they have by the deadline."""
        while (left := deadline - time.monotonic()) > 0:
            with self.lock:
                last = next(iter(self.connections), None)
            if last is None:
                return True
            last.thread.join(min(TICK, left))
            self.look()
        return False

    def stop(self, *_):
        """Handles a signal by setting a flag: an exception would interrupt whatever the
        main thread is doing, such as holding the lock of a thread that it starts."""
        self.stopping = True

    def forked(self):
        """Makes a forked child an ordinary process: signals end it, and it holds none of
        our connections open."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self.listener.close()
        for c in self.connections:
            c.sock.close()
        unblock()

    def accept(self):
        """Waits for a connection or a signal, at most until the next check is due."""
        poll = select.poll()
        poll.register(self.signals, select.POLLIN)
        if len(self.connections) < CONNECTIONS:
            poll.register(self.listener, select.POLLIN)
        ready = [fd for fd, _ in poll.poll(TICK * 1000 if self.connections else None)]
        if self.signals in ready:
            os.read(self.signals, 4096)
        if self.listener.fileno() in ready:
            self.take()
        else:
            self.look()

    def take(self):
        """Accepts the waiting connection."""
        try:
            sock, _ = self.listener.accept()
        except OSError as e:  # too many open files, for example
            ERR.write(f"accept: {e}\n")
            threading.Event().wait(TICK)
            return
        connection = Connection(self, sock)
        with self.lock:
            self.connections.add(connection)
        connection.thread.start()

    def look(self):
        """Interrupts the calls whose clients have disconnected."""
        with self.lock:
            busy = {c.sock.fileno(): c for c in self.connections if c.request is not None}
            poll = select.poll()
            for fd in busy:
                poll.register(fd, 0)  # poll reports a hang-up without being asked
            for fd, _ in poll.poll(0):
                busy[fd].interrupt()

    def leave(self, connection):
        with self.lock:
            self.connections.discard(connection)
            connection.sock.close()


def block():
    """Blocks signals during a fork: one that arrived before the child has its own
    handlers would be lost."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def unblock():
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
