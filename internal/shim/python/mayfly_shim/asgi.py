"""Calls an ASGI application (https://asgi.readthedocs.io)."""

import asyncio
import functools
import sys

from .crash import trace
from .link import ERROR
from .output import ERR
from .reply import header_lines
from .request import unquote

VERSION = {"version": "3.0", "spec_version": "2.3"}
PIECE = 64 << 10  # most bytes of a long body in one message
DISCONNECT = {"type": "http.disconnect"}


class Disconnected(OSError):
    """The application sends to a client that is gone."""


class Application:
    """Answers with an ASGI application."""

    cancels = False  # it learns that the client has left when it asks, or sends

    def __init__(self, app):
        self.app = app
        self.lifespan = Lifespan(app)

    async def begin(self):
        await self.lifespan.begin()

    async def end(self):
        try:
            await self.lifespan.end()
        except Exception as e:
            ERR.write(trace(e))

    async def __call__(self, call):
        conversation = Conversation(call)
        await self.app(self.scope(call.request), conversation.receive, conversation.send)
        if not call.sent and not call.over:
            raise RuntimeError("app returned before its response was complete")

    def scope(self, request):
        first, *fields = request._head.split(b"\n")
        method, _, target = first.partition(b" ")
        path, _, query = target.partition(b"?")
        pairs = [field.partition(b":") for field in fields]
        pairs.pop()  # after the last line's end
        return describe(
            {
                "type": "http",
                "asgi": VERSION,
                "http_version": "1.1",
                "method": method.decode("latin-1"),
                "path": text(path),
                "raw_path": path,
                "query_string": query,
                "headers": [(name.lower(), value) for name, _, value in pairs],
                "state": self.lifespan.state.copy(),
            }
        )


def text(path):
    return (unquote(path) if b"%" in path else path).decode("utf-8", "replace")


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


class Conversation:
    """What an application receives and sends in one call."""

    def __init__(self, call):
        self.call = call
        self.unread = True  # the body, or some of it
        self.start = None  # status, header lines and length of the response

    async def receive(self):
        call = self.call
        unread = self.unread
        while not call.over and not call.sent:
            if unread:
                if not self.unread:  # another one, at the same time, got the rest
                    return {"type": "http.request", "body": b"", "more_body": False}
                if call.request._content is not None:
                    self.unread = False
                    return {"type": "http.request", "body": call.request._content, "more_body": False}
                piece = call.some(PIECE)
                if piece is not None:
                    self.unread = bool(piece)  # the end is a message of its own: two may be waited for at once
                    return {"type": "http.request", "body": piece, "more_body": self.unread}
            await call.wait()
        return DISCONNECT

    async def send(self, message):
        call = self.call
        kind = message["type"]
        if call.over:
            raise Disconnected("the client has disconnected")
        if call.sent:
            raise RuntimeError(f"app sent {kind} after the end of its response")
        if kind == "http.response.start":
            if self.start:
                raise RuntimeError("app sent http.response.start twice")
            await self.begin(message)
        elif kind == "http.response.body":
            if not self.start:
                raise RuntimeError("app sent http.response.body before http.response.start")
            await self.put(message.get("body", b""), message.get("more_body", False))
        else:
            raise RuntimeError(f"app sent {kind!r}, which is not a response message")

    async def begin(self, message):
        lines, length = lines_of(message.get("headers", ()))
        self.start = message["status"], lines, length
        if b"text/event-stream" in lines:  # its client must learn at once that it is connected
            self.call.begin(*self.start)
            await self.chunk(b"")

    async def put(self, body, more):
        """Sends a part of the body."""
        call = self.call
        status, lines, length = self.start
        if not call.begun and not more and length in (None, len(body)) and call.whole(status, lines, body):
            return self.ended()
        if not call.begun:
            call.begin(status, lines, len(body) if length is None and not more else length)
        await self.chunk(body)
        if not more:
            call.end()
            self.ended()

    async def chunk(self, data):
        """Sends data as fast as the client takes it."""
        call = self.call
        waited = sent = False
        try:
            for _ in call.parts(data):
                waited = True
                await call.wait()
                if call.over:
                    raise Disconnected("the client has disconnected")
            sent = True
        finally:
            if waited and not sent:  # canceled mid-message, after which nothing can follow
                call.finish(ERROR, b"the application gave up a message that was partly sent", b"")

    def ended(self):
        self.call.flush()
        self.call.ring()  # who waits for the end


def describe(scope):
    """Adds what Mayfly's headers say of the client, the public address and the path
    below which the function is found."""
    get = dict(reversed(scope["headers"])).get
    scheme = scope["scheme"] = get(b"x-forwarded-proto", b"http").decode("latin-1")
    scope["server"] = address(get(b"host", b"localhost"), 443 if scheme == "https" else 80)
    host, port = address(get(b"mayfly-remote", b""), 0)
    scope["client"] = (host.strip("[]"), port) if host else None
    prefix = get(b"x-forwarded-prefix", b"").rstrip(b"/")
    scope["root_path"] = text(prefix)
    if prefix and path_is_whole():
        scope["path"] = scope["root_path"] + scope["path"]
        scope["raw_path"] = prefix + scope["raw_path"]
    return scope


def address(both, port):
    host, colon, number = both.decode("latin-1").rpartition(":")
    return (host, int(number)) if colon and number.isdigit() else (host + colon + number, port)


@functools.lru_cache(None)
def path_is_whole():
    """Whether the application expects its root_path in the path, as the standard has it.
    Starlette before 0.33 does not."""
    starlette = sys.modules.get("starlette._utils")
    return starlette is None or hasattr(starlette, "get_route_path")


def lines_of(headers):
    """The header as bytes, and its Content-Length."""
    lines, length = [], None
    for name, value in headers:
        name, value = bytes(name), bytes(value)
        lower = name_of(name)
        if lower == b"content-length":
            length = int(value)
        elif lower:
            if b"\n" in value or b"\r" in value or b"\0" in value:
                raise ValueError(f"the header {name.decode()} contains a line break or NUL: {value!r}")
            lines.append(b"%b:%b\n" % (name, value))
    return b"".join(lines), length


@functools.lru_cache(1000)
def name_of(name):
    """A header's name in lower case; None if it is one that the shim decides."""
    _, names = header_lines([(name.decode("latin-1"), "")])
    return name.lower() if names or name.lower() == b"content-length" else None
