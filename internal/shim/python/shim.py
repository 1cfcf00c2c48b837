"""Serves a Python function as HTTP/1.1 on the unix socket MAYFLY_SOCKET.

    python3 -c "import mayfly_shim; mayfly_shim.main()" hello.py

hello.py defines handle(request), plain or async, or else a WSGI application called
app. Every connection has a thread, in which plain code runs; async code runs in one
event loop that all calls share. The only client is Mayfly's engine on this machine,
which keeps few connections and writes correct HTTP: so the reader is small, and
fast.

When the client leaves, the call ends: an async one is cancelled where it awaits, in
plain code Gone is raised. Code that waits in one long call of the system, such as
time.sleep(60), hears of it when that returns.

It is imported, and not run as a file, because only of what is imported Python keeps
a compiled copy.
"""

import sys

sys.path.pop(0)  # the user's folder, whose socket.py would hide Python's own from us

import contextvars
import functools
import io
import os
import select
import signal
import socket
import threading
from collections.abc import Mapping

CALL = contextvars.ContextVar("call", default=None)  # the Request that this code works for

HEAD = 128 << 10  # bytes that a request's head may have
LINE = 64 << 10  # characters after which a line of the log is cut
DRAIN = 256 << 10  # bytes of a body that nobody wanted, read to keep the connection
LINGER = 64 << 20  # the same, read before the connection is closed
CONNECTIONS = 1024  # open at once; more wait until one is closed
TICK = 0.5  # seconds between two looks for clients that left

FOLDER = os.path.dirname(os.path.abspath(__file__))
CRASH = "Mayfly-Crash"  # header of a 502: the user's code failed


class Gone(GeneratorExit):
    """The client has left: nobody waits for this call any more.

    It is no Exception, so that user code does not catch it by accident, and a
    generator takes it for what it is: the request to end.
    """


class BadRequest(ValueError):
    """The client sent what the function cannot read: 400, unless it is caught."""


# What a function sees of a request.


class Headers(Mapping):
    """Header fields by name, in any case. Several of one name are joined."""

    __slots__ = ("_fields",)

    def __init__(self, lines):
        self._fields = {}
        for line in lines:
            name, _, value = line.partition(":")
            self._fields.setdefault(name.lower(), []).append(value.strip(" \t"))

    def __getitem__(self, name):
        name = name.lower()
        return ("; " if name == "cookie" else ", ").join(self._fields[name])

    def __iter__(self):
        return iter(self._fields)

    def __len__(self):
        return len(self._fields)

    def __repr__(self):
        return repr(dict(self))

    def get_all(self, name):
        """The fields of one name, each for itself."""
        return list(self._fields.get(name.lower(), ()))


class Request:
    """One call. What costs something is made when it is asked for."""

    __slots__ = ("method", "target", "_head", "_headers", "_body", "_content", "_stream", "_call")

    def __init__(self, head, connection):
        line, _, self._head = head.partition(b"\r\n")
        self.method, self.target, _ = line.decode("latin-1").split(" ")
        self._headers = self._body = self._stream = self._call = None
        self._content = b""
        fields = head.lower()
        at = fields.find(b"\r\ncontent-length:")
        if at >= 0:
            end = fields.find(b"\r\n", at + 2)
            length = int(fields[at + 17 : end if end >= 0 else None])
            if length <= len(connection.buffer):  # it is all there already
                self._content = connection.receive(length) if length else b""
            else:
                self._body = Body(connection, length, fields)
        elif b"\r\ntransfer-encoding:" in fields:
            self._body = Body(connection, None, fields)
        if self._body is not None:
            self._content = None

    @property
    def path(self):
        """The path, decoded."""
        path = self.target.partition("?")[0]
        return unquote(path).decode("utf-8", "replace") if "%" in path else path

    @property
    def query_string(self):
        return self.target.partition("?")[2]

    @property
    def query(self):
        """The query's values by name; the first, where a name comes twice."""
        from urllib.parse import parse_qsl

        return dict(reversed(parse_qsl(self.query_string, keep_blank_values=True)))

    @property
    def headers(self):
        if self._headers is None:
            self._headers = Headers(self._head.decode("latin-1").split("\r\n") if self._head else ())
        return self._headers

    @property
    def call(self):
        """The call's id, which is also in the log and in the client's X-Call-Id."""
        if self._call is None:
            self._call = self.headers.get("Mayfly-Call", "")
        return self._call

    @property
    def params(self):
        """The values of {name} in the route's pattern."""
        prefix = "mayfly-param-"
        return {name[len(prefix) :]: value for name, value in self.headers.items() if name.startswith(prefix)}

    @property
    def body(self):
        """The body, or what the stream has left of it."""
        if self._content is None:
            self._content = (self._stream or self._body).read()
        return self._content

    @property
    def stream(self):
        """The body as a binary file, for what is too long to hold."""
        if self._stream is None:
            whole = self._content is not None
            self._stream = io.BytesIO(self._content) if whole else io.BufferedReader(self._body, 64 << 10)
        return self._stream

    def text(self):
        try:
            return self.body.decode()
        except UnicodeDecodeError as e:
            raise BadRequest(f"the request's body is not UTF-8: {e}") from None

    def json(self):
        import json

        try:
            return json.loads(self.body)
        except ValueError as e:
            raise BadRequest(f"the request's body is not JSON: {e}") from None


def unquote(path):
    from urllib.parse import unquote_to_bytes

    return unquote_to_bytes(path)


class Body(io.RawIOBase):
    """The body of a request, as it comes in: length bytes, or chunks if it is None."""

    def __init__(self, connection, length, fields):
        self.connection = connection
        self.chunked = length is None
        self.left = length or 0  # bytes until the end, or that of the chunk
        self.ended = False
        self.expected = b"\r\nexpect:" in fields  # the client waits for our word

    def readable(self):
        return True

    def readinto(self, into):
        data = self.some(len(into))
        into[: len(data)] = data
        return len(data)

    def readall(self):
        parts = []
        while not self.ended:
            parts.append(self.some(1 << 20))
        return b"".join(parts)

    def short(self):
        """Whether what is left is so little that it is read only to find the next
        request behind it."""
        return self.ended or not self.chunked and not self.expected and self.left <= DRAIN

    def some(self, limit):
        """Up to limit bytes; none at the end."""
        if self.expected:
            self.expected = False
            self.connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self.chunked and not self.left and not self.ended:
            try:
                self.left = int(self.connection.line().partition(b";")[0], 16)
            except ValueError:
                raise Gone from None  # whoever that is, it does not speak HTTP
            if not self.left:
                while self.connection.line():
                    pass  # trailers
                self.ended = True
        if self.ended:
            return b""
        data = self.connection.receive(min(limit, self.left))
        self.left -= len(data)
        if not self.left:
            if self.chunked:
                self.connection.line()
            else:
                self.ended = True
        return data


# From what a function returns to a response.


def header_lines(headers):
    """The header as bytes, and the names in it. How a body is framed is ours to
    say, so what the user says about that is left out."""
    text, names = "", set()
    for name, value in headers.items() if hasattr(headers, "items") else headers:
        if not isinstance(name, str) or not name.isascii() or not name.translate(TOKEN).isalnum():
            raise ValueError(f"{name!r} is no name of a header")
        if name.lower() in FRAMING:
            continue
        names.add(name.lower())
        for one in value if isinstance(value, (list, tuple)) else (value,):
            one = str(one)
            if one.translate(BREAKS) != one:
                raise ValueError(f"the header {name} would break the line: {one!r}")
            text += f"{name}: {one}\r\n"
    try:
        return text.encode("latin-1"), names
    except UnicodeEncodeError:
        raise ValueError(f"headers hold Latin-1 text only: {text!r}") from None


TOKEN = str.maketrans("", "", "!#$%&'*+-.^_`|~")  # what a name may have besides letters and digits
BREAKS = str.maketrans("", "", "\r\n\0")
FRAMING = ("content-length", "transfer-encoding", "connection", "keep-alive")


class Reply:
    """Writes the response to one request."""

    begun = False  # the head is written, or will be with the next chunk
    pending = b""  # of the head
    left = None  # bytes that a stream of known length still owes
    open = False  # a stream that must be ended
    last = False  # the connection ends with this response, and the client knows

    def __init__(self, connection, request):
        self.connection = connection
        self.head = request.method == "HEAD"
        self.body = request._body

    def whole(self, status, lines, body, reason=""):
        """Writes a response at once."""
        self.begun = True
        if status in (204, 304):
            body = b""
        else:
            lines += b"Content-Length: %d\r\n" % len(body)
        head = self.first_line(status, reason) + lines + b"\r\n"
        if self.head or not body:
            self.connection.send(head)
        elif len(body) < 64 << 10:
            self.connection.send(head + body)
        else:
            self.connection.send(head)
            self.connection.send(body)

    def begin(self, status, lines, length=None, reason=""):
        """Begins a stream; the head goes out with its first chunk."""
        self.begun = self.open = True
        self.left = length
        if status in (204, 304):
            self.head = True
        elif length is None:
            lines += b"Transfer-Encoding: chunked\r\n"
        else:
            lines += b"Content-Length: %d\r\n" % length
        self.pending = self.first_line(status, reason) + lines + b"\r\n"

    def chunk(self, data):
        """Writes a part of a stream, at once."""
        if self.head or not data:
            data = b""
        elif self.left is None:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        elif len(data) <= self.left:
            self.left -= len(data)
        else:
            raise ValueError("the body is longer than its Content-Length")
        data, self.pending = self.pending + data, b""
        if data:
            self.connection.send(data)

    def end(self):
        """Ends a stream."""
        if self.left and not self.head:
            raise ValueError(f"the body is {self.left} bytes shorter than its Content-Length")
        last = b"" if self.head or self.left is not None else b"0\r\n\r\n"
        self.connection.send(self.pending + last)
        self.open, self.pending = False, b""

    def first_line(self, status, reason):
        self.last = self.connection.server.stopping or self.body is not None and not self.body.short()
        return first_line(status, reason, self.last)


@functools.lru_cache(1000)
def first_line(status, reason, last):
    close = "Connection: close\r\n" if last else ""
    return f"HTTP/1.1 {status} {reason}\r\n{close}".encode("latin-1")


def content(result):
    """The Content-Type and the body that a value makes, or None if it is no body."""
    if isinstance(result, str):
        return b"Content-Type: text/plain; charset=utf-8\r\n", result.encode("utf-8", "surrogateescape")
    if isinstance(result, (dict, list)):
        return b"Content-Type: application/json\r\n", encode_json()(result).encode()
    if isinstance(result, (bytes, bytearray, memoryview)):
        return b"", bytes(result)
    if result is None:
        return b"", b""
    return None


def reply_with(reply, result, wait):
    """Writes what handle returned."""
    given = content(result)
    if given is not None:
        return reply.whole(204 if result is None else 200, *given)

    status, headers = 200, ()
    if isinstance(result, tuple):
        if not 2 <= len(result) <= 3:
            raise TypeError(f"handle returned a tuple of {len(result)}: return (body, status) or (body, status, headers)")
        result, status, *rest = result
        headers = rest[0] if rest and rest[0] else ()
        if not isinstance(status, int) or not 200 <= status <= 599:
            raise ValueError(f"handle returned the status {status!r}: return a number from 200 to 599")
        status = int(status)
        given = content(result)
    lines, names = header_lines(headers)

    if given is not None:
        kind, body = given
        return reply.whole(status, lines if "content-type" in names else kind + lines, body)
    if hasattr(result, "__anext__"):
        result = in_turn(result, wait)
    if not hasattr(result, "__next__"):
        raise TypeError(
            f"handle returned {type(result).__name__}: return str, bytes, dict, list, None, "
            "(body, status[, headers]) or a generator"
        )
    stream(reply, result, status, lines, b"text/event-stream" in lines)


@functools.lru_cache(None)
def encode_json():
    import json

    return json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def stream(reply, items, status, lines, at_once):
    """Writes a chunk for each item. The head goes out with the first one, so that
    a generator that fails before it is a 502 like any other; only a client of
    events must know at once that it is connected."""
    try:
        if at_once:
            reply.begin(status, lines)
            reply.chunk(b"")
        for item in () if reply.head else items:
            if isinstance(item, str):
                item = item.encode("utf-8", "surrogateescape")
            elif not isinstance(item, (bytes, bytearray, memoryview)):
                raise TypeError(f"the generator gave {type(item).__name__}: yield str or bytes")
            if not reply.begun:
                reply.begin(status, lines)
            reply.chunk(item)
        if not reply.begun:
            reply.begin(status, lines)
        reply.end()
    finally:
        if hasattr(items, "close"):
            items.close()


def in_turn(items, wait):
    """The items of an async generator, as a plain one gives them."""
    try:
        while True:
            try:
                yield wait(items.__anext__())
            except StopAsyncIteration:
                return
    finally:
        if hasattr(items, "aclose"):
            wait(items.aclose(), last=True)


class Application:
    """Answers by a WSGI application (PEP 3333)."""

    def __init__(self, app):
        self.app = app

    def __call__(self, request, reply):
        given = []  # status, lines and length, from start_response

        def write(data):
            if not given:
                raise AssertionError("write before start_response")
            if not reply.begun:
                status, reason, lines, length = given
                reply.begin(status, lines, length, reason)
            reply.chunk(data)

        def start_response(status, headers, exc_info=None):
            if exc_info and reply.begun:
                raise exc_info[1].with_traceback(exc_info[2])
            if given and not exc_info:
                raise AssertionError("start_response was called twice")
            number, _, reason = status.partition(" ")
            length = [int(value) for name, value in headers if name.lower() == "content-length"]
            given[:] = int(number), reason, header_lines(headers)[0], length[0] if length else None
            return write

        body = self.app(self.environ(request), start_response)
        try:
            if isinstance(body, (list, tuple)) and len(body) == 1 and given and not reply.begun and given[3] is None:
                given[3] = len(body[0])
            for data in body:
                if data:
                    write(data)
            if not given:
                raise AssertionError("the application did not call start_response")
            write(b"")
            reply.end()
        finally:
            if hasattr(body, "close"):
                body.close()

    def environ(self, request):
        path = request.target.partition("?")[0]
        get = request.headers.get
        host, _, port = get("Host", "localhost").rpartition(":")
        if not port.isdigit():
            host, port = get("Host", "localhost"), "80"
        environ = {
            "HTTP_" + name.upper().replace("-", "_"): value
            for name, value in request.headers.items()
            if "_" not in name  # it could pass for another's
        }
        environ.update(
            {
                "REQUEST_METHOD": request.method,
                "SCRIPT_NAME": get("X-Forwarded-Prefix", "").rstrip("/"),
                "PATH_INFO": unquote(path).decode("latin-1") if "%" in path else path,
                "QUERY_STRING": request.query_string,
                "CONTENT_TYPE": environ.pop("HTTP_CONTENT_TYPE", ""),
                "CONTENT_LENGTH": environ.pop("HTTP_CONTENT_LENGTH", ""),
                "REMOTE_ADDR": get("Mayfly-Remote", "").rpartition(":")[0].strip("[]"),
                "SERVER_NAME": host,
                "SERVER_PORT": port,
                "SERVER_PROTOCOL": "HTTP/1.1",
                "wsgi.version": (1, 0),
                "wsgi.url_scheme": get("X-Forwarded-Proto", "http"),
                "wsgi.input": request.stream,
                "wsgi.input_terminated": True,
                "wsgi.errors": sys.stderr,
                "wsgi.multithread": True,
                "wsgi.multiprocess": True,
                "wsgi.run_once": False,
            }
        )
        return environ


class Handler:
    """Answers by the user's handle(request)."""

    def __init__(self, handle):
        self.handle = handle

    def __call__(self, request, reply):
        wait = reply.connection.wait
        result = self.handle(request)
        if hasattr(result, "__await__"):  # of an async def, or of what calls one
            result = wait(result)
        reply_with(reply, result, wait)


class Loop:
    """The event loop that all async code runs in; made by the first that needs it."""

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


# Connections.


class Connection:
    """A client's connection, and the thread that serves its requests in turn."""

    def __init__(self, server, sock):
        self.server = server
        self.sock = sock
        self.buffer = b""
        self.lock = threading.Lock()
        self.request = None  # in work; guarded by lock where it is taken for interrupting
        self.task = None  # of the event loop, that the thread waits for
        self.left = False  # the client has gone, and the thread was told
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
                self.request = None
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
        """Lets the client finish its request, so that it comes to read the reply
        rather than fail at writing to nobody."""
        read = 0
        try:
            self.sock.shutdown(socket.SHUT_WR)
            self.sock.settimeout(1)
            while read < LINGER and (data := self.sock.recv(64 << 10)):
                read += len(data)
        except OSError:
            pass

    def wait(self, awaitable, last=False):
        """Runs something async in the event loop and returns what comes of it. The
        last of a call may finish also when the client has left."""
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
            self.task = loop.create_task(work())
            self.task.add_done_callback(lambda _: done.release())
            if self.left and not last:
                loop.call_soon(self.task.cancel)  # it must have begun, or nobody awaits what it awaits

        loop.call_soon_threadsafe(start)  # takes the context with it, and so the call
        done.acquire()
        self.task = None
        if error is not None:
            raise error
        return result

    def interrupt(self):
        """Tells the thread that its client has gone. Called by the main thread."""
        with self.lock:
            if self.request is None or self.left:
                return
            self.left = True
            task = self.task
            if task is not None:
                Loop.loop.call_soon_threadsafe(task.cancel)
                return
            import ctypes

            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.thread.ident), ctypes.py_object(Gone))

    def wake(self):
        """Ends the wait for another request. Called by the main thread."""
        try:
            self.sock.shutdown(socket.SHUT_RD)
        except OSError:
            pass  # the client was faster

    # Bytes in and out. Where the client is gone, all of them raise Gone.

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
        for number in signal.SIGTERM, signal.SIGINT:
            signal.signal(number, stop)
        try:
            while True:
                self.accept()
        except Stop:
            pass
        for number in signal.SIGTERM, signal.SIGINT:
            signal.signal(number, signal.SIG_IGN)
        self.stopping = True
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

    def accept(self):
        """Takes a connection if one comes before the next look is due."""
        free = len(self.connections) < CONNECTIONS
        poll = select.poll()
        if free:
            poll.register(self.listener, select.POLLIN)
        if poll.poll(TICK * 1000 if self.connections else None):
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
        else:
            self.look()

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


class Stop(BaseException):
    """SIGTERM came."""


def stop(*_):
    raise Stop


# What people read.


class Log(io.TextIOBase):
    """stdout or stderr, a line at a time, each marked with the call that wrote it."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, fd):
        self.fd = fd
        self.buffer = open(fd, "wb", buffering=0, closefd=False)
        self.lock = threading.RLock()
        self.begun = {}  # by call: the line that has no end yet

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
                lines, end, rest = text_so_far, "\n", ""
            if rest:
                self.begun[call] = rest
            if end:
                self.put(call, lines)
        return len(text)

    def finish(self, request):
        """Ends the line that a call has begun."""
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
            pass  # nobody reads it any more


OUT, ERR = Log(1), Log(2)


def crash(reply, error):
    """Says in the log and to the client that the user's code failed. A stream that
    has begun is cut, which its client takes for the failure that it is."""
    text = trace(error)
    ERR.write(text)
    if not reply.begun:
        line = "".join(c if c.isprintable() else " " for c in f"{type(error).__name__}: {error}"[:500])
        lines = b"Content-Type: text/plain; charset=utf-8\r\n%b: %b\r\n" % (CRASH.encode(), line.encode("utf-8", "replace"))
        reply.whole(502, lines, text.encode("utf-8", "replace"))


def trace(error):
    """The traceback without our own frames, and with short names of files."""
    import traceback

    whole = part = traceback.TracebackException.from_exception(error)
    while part is not None:
        part.stack[:] = [f for f in part.stack if f.filename != __file__ and not f.filename.startswith("<frozen importlib")]
        for place in (*part.stack, part):  # a SyntaxError itself names a file
            file = getattr(place, "filename", None)
            if file and file.startswith(FOLDER + os.sep):
                place.filename = file[len(FOLDER) + 1 :]
        part = part.__cause__ or part.__context__
    return "".join(whole.format())


def load(file):
    """Imports the user's module and returns what answers calls."""
    import importlib.util

    name = os.path.splitext(file)[0].replace(".", "_")
    if name in sys.modules or importlib.util.find_spec(name):
        sys.path.append(FOLDER)  # or whoever imports Python's own email would get the user's email.py
        name = "function_" + name
    else:
        sys.path.insert(0, FOLDER)
    spec = importlib.util.spec_from_file_location(name, os.path.join(FOLDER, file))
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    handle, app = getattr(module, "handle", None), getattr(module, "app", None)
    if callable(handle):
        return Handler(handle)
    if not callable(app):
        raise NameError(f"{file} defines neither handle nor app: write def handle(request)")
    for call in app, type(app).__call__:
        if getattr(getattr(call, "__code__", None), "co_flags", 0) & 0x80:  # async def
            raise TypeError(
                f"app in {file} is an ASGI application, and a function's app is WSGI: "
                "let the file run a server for it on the unix socket that MAYFLY_SOCKET names"
            )
    return Application(app)


def main():
    sys.stdout, sys.stderr = OUT, ERR
    sys.argv.pop(0)  # the -c of the command line
    path = os.environ.get("MAYFLY_SOCKET")
    if not path:
        sys.exit("MAYFLY_SOCKET is not set: this file is started by mayfly")
    try:
        answer = load(sys.argv[0])
    except Exception as e:
        ERR.write(trace(e))
        os._exit(1)  # also where the module has started threads
    Server(path, answer).run()

    # A thread of the user's that never ends must not keep us from ending.
    import atexit

    atexit._run_exitfuncs()
    OUT.finish(None)
    ERR.finish(None)
    os._exit(0)
