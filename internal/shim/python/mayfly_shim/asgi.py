"""Calls an ASGI application.

All calls share the event loop. The connection's thread reads long bodies, which may
block; writing does not block but waits on the loop until the client takes more.
"""

import asyncio
import queue
import socket
import time

from .connection import Loop
from .crash import trace
from .output import ERR, OUT
from .reply import header_lines
from .request import Gone, unquote

VERSION = {"version": "3.0", "spec_version": "2.3"}
PIECE = 64 << 10  # most bytes of a long body in one message
DISCONNECT = {"type": "http.disconnect"}
LAST = 0.25  # seconds for calls to end once they are told to


class Disconnected(OSError):
    """The application sends to a client that is gone."""


class Application:
    """Answers with an ASGI application (https://asgi.readthedocs.io)."""

    def __init__(self, app):
        self.app = app
        self.loop = Loop.get()
        self.lifespan = Lifespan(app)
        self.tasks = set()  # of calls, also of those that work on after their response
        self.on_loop(self.lifespan.begin())

    def __call__(self, request, reply):
        Exchange(self, request, reply).run()

    def close(self, deadline):
        """Lets what the calls left running finish until the deadline, and cancels it then;
        lets the application clean up."""

        async def end():
            if self.tasks:
                await asyncio.wait(self.tasks, timeout=max(LAST, deadline - time.monotonic()))
            if self.tasks:
                for task in self.tasks:
                    task.cancel()
                await asyncio.wait(self.tasks, timeout=LAST)
            await self.lifespan.end()

        try:
            self.on_loop(end())
        except Exception as e:
            ERR.write(trace(e))

    def on_loop(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()


class Lifespan:
    """The start and the end of an application that has use for them."""

    def __init__(self, app):
        self.app = app
        self.state = {}
        self.task = None

    async def begin(self):
        self.asked, self.said = asyncio.Queue(), asyncio.Queue()
        self.task = asyncio.ensure_future(self.run())
        await self.tell("startup")

    async def run(self):
        """Returns the error that ended it."""
        try:
            await self.app({"type": "lifespan", "asgi": VERSION, "state": self.state}, self.asked.get, self.said.put)
        except BaseException as e:  # a SystemExit would end the loop
            return e

    async def end(self):
        if not self.task.done():
            await self.tell("shutdown")

    async def tell(self, event):
        """Announces an event and waits until the application has dealt with it."""
        self.asked.put_nowait({"type": f"lifespan.{event}"})
        said = asyncio.ensure_future(self.said.get())
        await asyncio.wait({said, self.task}, return_when=asyncio.FIRST_COMPLETED)
        if not said.done():  # it knows no lifespan
            said.cancel()
            return
        answer = said.result()
        if answer["type"] == f"lifespan.{event}.failed":
            await asyncio.wait({self.task}, timeout=1)
            error = self.task.done() and self.task.result()
            raise error or RuntimeError(answer.get("message") or f"the application's {event} failed")


class Exchange:
    """One call. To the Reply it is the connection, but what it sends goes out by flush."""

    def __init__(self, application, request, reply):
        self.application = application
        self.loop = application.loop
        self.request = request
        self.reply = reply
        self.connection = reply.connection
        self.server = reply.connection.server
        self.wanted = queue.SimpleQueue()  # futures for the body's next piece; None ends the thread's work
        self.error = None

        # On the event loop:
        self.over = None  # an Event: the end
        self.unread = True  # the body, or some of it
        self.piece = None  # of the body, on its way
        self.start = None  # status, header lines and length of the response
        self.unsent = b""
        self.writable = None  # a future: the client takes more
        self.ended = False  # nothing more goes to the client
        self.left = False  # since it is gone

    # The connection's thread

    def run(self):
        self.connection.cancel = self.leave
        self.reply.connection = self
        self.loop.call_soon_threadsafe(self.begin)  # passes on the context, and so the call
        try:
            for piece in iter(self.wanted.get, None):
                try:
                    self.loop.call_soon_threadsafe(settle, piece, self.request._body.some(PIECE))
                except Gone:
                    self.loop.call_soon_threadsafe(self.leave)
        finally:
            self.reply.connection = self.connection
        if self.error is not None:
            raise self.error

    # The event loop

    def begin(self):
        if self.ended:
            return  # the client has left already
        self.over = asyncio.Event()
        task = self.loop.create_task(self.answer())
        self.application.tasks.add(task)
        task.add_done_callback(self.application.tasks.discard)

    async def answer(self):
        error = None
        try:
            await self.application.app(self.scope(), self.receive, self.send_message)
        except BaseException as e:  # a SystemExit would end the loop
            error = e
        if not self.ended:
            self.end(error or RuntimeError("app returned before its response was complete"))
        elif error and not self.left:
            ERR.write(trace(error))
        OUT.finish(self.request)
        ERR.finish(self.request)

    def end(self, error=None):
        """Lets the connection's thread go on."""
        if not self.ended:
            self.ended, self.error = True, error
            if self.over:
                self.over.set()
            self.wanted.put(None)

    def leave(self):
        """The client has disconnected: the application learns it when it asks, or sends."""
        if self.ended:
            return
        self.left = True
        if self.writable:
            self.loop.remove_writer(self.connection.sock)  # before the thread closes it
            settle(self.writable, None)
        if self.piece:
            settle(self.piece, b"")
        self.end(Gone())

    def scope(self):
        target, _, query = self.request.target.partition("?")
        return describe(
            {
                "type": "http",
                "asgi": VERSION,
                "http_version": "1.1",
                "method": self.request.method,
                "path": unquote(target).decode("utf-8", "replace"),
                "raw_path": target.encode("latin-1"),
                "query_string": query.encode("latin-1"),
                "headers": fields(self.request._head),
                "state": self.application.lifespan.state.copy(),
            }
        )

    async def receive(self):
        if self.ended:
            return DISCONNECT
        if not self.unread:
            await self.over.wait()
            return DISCONNECT
        if self.request._content is not None:
            self.unread = False
            return {"type": "http.request", "body": self.request._content, "more_body": False}
        if self.piece is None:
            self.piece = self.loop.create_future()
            self.wanted.put(self.piece)
        piece = self.piece
        data = await asyncio.shield(piece)  # if this is canceled, the next call gets it
        if self.piece is not piece:
            return await self.receive()  # another one, at the same time, got it
        self.piece = None
        if self.left:
            return DISCONNECT
        self.unread = not self.request._body.ended
        return {"type": "http.request", "body": data, "more_body": self.unread}

    async def send_message(self, message):
        if self.left:
            raise Disconnected("the client has disconnected")
        if self.ended:
            raise RuntimeError(f"app sent {message['type']} after the end of its response")
        if message["type"] == "http.response.start":
            if self.start:
                raise RuntimeError("app sent http.response.start twice")
            self.begin_response(message)
        elif message["type"] == "http.response.body":
            if not self.start:
                raise RuntimeError("app sent http.response.body before http.response.start")
            self.put(message.get("body", b""), message.get("more_body", False))
        else:
            raise RuntimeError(f"app sent {message['type']!r}, which is not a response message")
        await self.flush()
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self.end()

    def begin_response(self, message):
        headers = [(bytes(name).decode("latin-1"), bytes(value).decode("latin-1")) for name, value in message.get("headers", ())]
        lines, _ = header_lines(headers)
        length = [int(value) for name, value in headers if name.lower() == "content-length"]
        self.start = message["status"], lines, length[0] if length else None
        if b"text/event-stream" in lines:  # its client must learn at once that it is connected
            self.reply.begin(*self.start)
            self.reply.chunk(b"")

    def put(self, body, more):
        """Writes a part of the body to unsent."""
        status, lines, length = self.start
        if not self.reply.begun and not more and length is None:
            return self.reply.whole(status, lines, body)
        if not self.reply.begun:
            self.reply.begin(status, lines, length)
        self.reply.chunk(body)
        if not more:
            self.reply.end()

    def send(self, data):
        self.unsent += data

    async def flush(self):
        """Sends what is unsent, as fast as the client takes it."""
        rest, self.unsent = memoryview(self.unsent), b""
        while rest:
            try:
                rest = rest[self.connection.sock.send(rest, socket.MSG_DONTWAIT) :]
                continue
            except BlockingIOError:
                self.writable = self.loop.create_future()
                self.loop.add_writer(self.connection.sock, settle, self.writable, None)
            except OSError:
                self.leave()
            if not self.left:
                sent = False
                try:
                    await self.writable
                    sent = True
                finally:
                    self.writable = None
                    if not self.left:
                        self.loop.remove_writer(self.connection.sock)
                    if not sent:  # canceled mid-message, after which nothing can follow
                        self.end(Gone())
            if self.left:
                raise Disconnected("the client has disconnected")


def settle(future, result):
    if not future.done():  # it may have been canceled
        future.set_result(result)


def fields(head):
    """The header as ASGI has it."""
    pairs = (line.partition(b":") for line in head.split(b"\r\n") if line)
    return [(name.lower(), value.strip(b" \t")) for name, _, value in pairs]


def describe(scope):
    """Adds what Mayfly's headers say of the client, the public address and the path
    below which the function is found."""
    headers = dict(reversed(scope["headers"]))

    def get(name, default=""):
        return headers.get(name, default.encode()).decode("latin-1")

    def address(text, port):
        host, colon, number = text.rpartition(":")
        return (host, int(number)) if colon and number.isdigit() else (text, port)

    scope["scheme"] = get(b"x-forwarded-proto", "http")
    scope["server"] = address(get(b"host", "localhost"), 443 if scope["scheme"] == "https" else 80)
    host, port = address(get(b"mayfly-remote"), 0)
    scope["client"] = (host.strip("[]"), port) if host else None
    prefix = get(b"x-forwarded-prefix").rstrip("/")
    scope["root_path"] = unquote(prefix).decode("utf-8", "replace")
    if prefix and path_is_whole():
        scope["path"] = scope["root_path"] + scope["path"]
        scope["raw_path"] = prefix.encode("latin-1") + scope["raw_path"]
    return scope


def path_is_whole():
    """Whether the application expects its root_path in the path, as the standard has it.
    Starlette before 0.33 does not."""
    import sys

    starlette = sys.modules.get("starlette._utils")
    return starlette is None or hasattr(starlette, "get_route_path")
