"""A client's connection, and the event loop that all of them share."""

import socket
import threading

from .crash import crash
from .output import CALL, ERR, OUT
from .reply import Reply
from .request import BadRequest, Gone, Request

HEAD = 128 << 10  # longest request head in bytes
LINGER = 64 << 20  # most of an unread body that is read before the connection is closed


class Connection:
    """A client's connection, and the thread that serves its requests in turn."""

    def __init__(self, server, sock):
        self.server = server
        self.sock = sock
        self.buffer = b""
        self.lock = threading.Lock()
        self.request = None  # in progress; guarded by lock where it is read for interrupting
        self.cancel = None  # tells the work on the event loop, which the thread waits for, that the client is gone
        self.left = False  # the client has disconnected, and the thread was told
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        try:
            while not self.server.stopping and self.exchange():
                pass
        except Gone:
            pass
        finally:
            self.server.leave(self)

    def exchange(self):
        """Serves one request, and reports whether another may follow."""
        head = self.head()
        if head is None:
            return False
        try:
            request = Request(head, self)
        except ValueError:
            self.send(b"HTTP/1.1 400 \r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return False
        reply = Reply(self, request)
        CALL.set(request)
        self.request = request
        try:
            self.server.answer(request, reply)
        except Gone:
            raise
        except BadRequest as e:
            if reply.begun:
                crash(reply, e)
            else:
                reply.whole(400, b"Content-Type: text/plain; charset=utf-8\r\n", f"{e}\n".encode())
        except BaseException as e:
            crash(reply, e)
        finally:
            with self.lock:
                self.request = self.cancel = None
            OUT.finish(request)
            ERR.finish(request)
        unread = request._body is not None and not request._body.ended
        if reply.last and unread:
            self.linger()
        if reply.open or reply.last:
            return False
        if unread:
            request._body.readall()
        return True

    def linger(self):
        """Lets the client finish its request, so that it reads the reply instead of
        failing to write."""
        read = 0
        try:
            self.sock.shutdown(socket.SHUT_WR)
            self.sock.settimeout(1)
            while read < LINGER and (data := self.sock.recv(64 << 10)):
                read += len(data)
        except OSError:
            pass

    def wait(self, awaitable, last=False):
        """Runs an awaitable in the event loop and returns its result. The last one of
        a call may finish even after the client has disconnected."""
        loop = Loop.get()
        result, error = None, Gone()
        done = threading.Lock()
        done.acquire()

        async def work():
            nonlocal result, error
            try:
                result, error = await awaitable, None
            except BaseException as e:
                error = Gone() if self.left else e

        def start():
            task = loop.create_task(work())
            task.add_done_callback(lambda _: done.release())
            self.cancel = task.cancel
            if self.left and not last:
                loop.call_soon(task.cancel)  # it must have started, or its coroutine is never awaited

        loop.call_soon_threadsafe(start)  # passes on the context, and so the call
        done.acquire()
        self.cancel = None
        if error is not None:
            raise error
        return result

    def interrupt(self):
        """Tells the thread that its client is gone. Called by the main thread."""
        with self.lock:
            if self.request is None or self.left:
                return
            self.left = True
            cancel = self.cancel
            if cancel is not None:
                Loop.loop.call_soon_threadsafe(cancel)
                return
            import ctypes

            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.thread.ident), ctypes.py_object(Gone))

    def wake(self):
        """Ends the wait for another request. Called by the main thread."""
        try:
            self.sock.shutdown(socket.SHUT_RD)
        except OSError:
            pass  # the client disconnected first

    # Bytes in and out. If the client is gone, all of them raise Gone.

    def head(self):
        """The next request's head, or None if there is none."""
        while True:
            end = self.buffer.find(b"\r\n\r\n")
            if end >= 0:
                head, self.buffer = self.buffer[:end], self.buffer[end + 4 :]
                return head
            if len(self.buffer) > HEAD:
                self.send(b"HTTP/1.1 431 \r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return None
            try:
                data = self.sock.recv(16 << 10)
            except OSError:
                return None
            if not data:
                return None
            self.buffer += data

    def receive(self, limit):
        """Some bytes, at most limit."""
        if self.buffer:
            data, self.buffer = self.buffer[:limit], self.buffer[limit:]
            return data
        try:
            data = self.sock.recv(limit)
        except OSError:
            data = b""
        if not data:
            raise Gone
        return data

    def line(self):
        while b"\r\n" not in self.buffer:
            rest, self.buffer = self.buffer, b""
            if len(rest) > HEAD:
                raise Gone
            self.buffer = rest + self.receive(64 << 10)
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line

    def send(self, data):
        try:
            self.sock.sendall(data)
        except OSError:
            raise Gone from None


class Loop:
    """The event loop of all async code, created on first use."""

    lock = threading.Lock()
    loop = None

    @classmethod
    def get(cls):
        with cls.lock:
            if cls.loop is None:
                import asyncio

                cls.loop = asyncio.new_event_loop()
                threading.Thread(target=cls.loop.run_forever, name="loop", daemon=True).start()
            return cls.loop
