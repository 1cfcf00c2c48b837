"""The socket that connections come in by."""

import os
import select
import signal
import socket
import threading

from .connection import Connection
from .output import ERR

CONNECTIONS = 1024  # open at once; more wait until one is closed
SIGNALS = signal.SIGTERM, signal.SIGINT
TICK = 0.5  # seconds between two looks for clients that left


class Server:
    """Accepts connections, and looks after them, in the main thread."""

    def __init__(self, path, answer):
        self.answer = answer
        self.stopping = False
        self.lock = threading.Lock()
        self.connections = set()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(CONNECTIONS)

    def run(self):
        """Serves until SIGTERM, then finishes the calls that are in work."""
        self.signals, told = os.pipe()
        os.set_blocking(told, False)
        signal.set_wakeup_fd(told, warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, self.stop)
        os.register_at_fork(before=block, after_in_parent=unblock, after_in_child=self.forked)
        while not self.stopping:
            self.accept()
        self.listener.close()
        with self.lock:
            for c in self.connections:
                if c.request is None:
                    c.wake()
        while True:
            with self.lock:
                last = next(iter(self.connections), None)
            if last is None:
                return
            last.thread.join(TICK)
            self.look()

    def stop(self, *_):
        """Hears of a signal. It only says so: an exception would strike whatever the
        main thread is at, such as the lock of a thread that it starts."""
        self.stopping = True

    def forked(self):
        """Makes a forked child an ordinary process: a signal ends it, and none of our
        connections stays open because it lives on."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self.listener.close()
        for c in self.connections:
            c.sock.close()
        unblock()

    def accept(self):
        """Takes a connection if one comes before the next look is due, or a signal."""
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
        """Takes the connection that has come."""
        try:
            sock, _ = self.listener.accept()
        except OSError as e:  # too many open files
            ERR.write(f"accept: {e}\n")
            threading.Event().wait(TICK)
            return
        connection = Connection(self, sock)
        with self.lock:
            self.connections.add(connection)
        connection.thread.start()

    def look(self):
        """Interrupts the calls whose clients have left."""
        with self.lock:
            busy = {c.sock.fileno(): c for c in self.connections if c.request is not None}
            poll = select.poll()
            for fd in busy:
                poll.register(fd, 0)  # a hang-up is told unasked
            for fd, _ in poll.poll(0):
                busy[fd].interrupt()

    def leave(self, connection):
        with self.lock:
            self.connections.discard(connection)
            connection.sock.close()


def block():
    """Holds signals back during a fork: one that came before the child has handlers of
    its own would be lost."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def unblock():
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
