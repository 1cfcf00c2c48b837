"""Calls an ASGI application (https://asgi.readthedocs.io)."""

import asyncio

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
        target, _, query = request.target.partition("?")
        return describe(
            {
                "type": "http",
                "asgi": VERSION,
                "http_version": "1.1",
                "method": request.method,
                "path": unquote(target).decode("utf-8", "replace"),
                "raw_path": target.encode("latin-1"),
                "query_string": query.encode("latin-1"),
                "headers": fields(request._head),
                "state": self.lifespan.state.copy(),
            }
        )


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
        headers = [(bytes(name).decode("latin-1"), bytes(value).decode("latin-1")) for name, value in message.get("headers", ())]
        lines, _ = header_lines(headers)
        length = [int(value) for name, value in headers if name.lower() == "content-length"]
        self.start = message["status"], lines, length[0] if length else None
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


def fields(head):
    """The header as ASGI has it."""
    pairs = (line.partition(b":") for line in head.split(b"\n")[1:-1])
    return [(name.lower(), value) for name, _, value in pairs]


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
