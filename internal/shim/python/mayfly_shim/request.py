"""The request that a function sees."""

import io
from collections.abc import Mapping

DRAIN = 256 << 10  # most bytes of an unread body that are read to keep the connection


class Gone(GeneratorExit):
    """The client has disconnected.

    It is not an Exception, so user code does not catch it by accident, and a
    generator takes it as the request to end.
    """


class BadRequest(ValueError):
    """The client sent something unreadable: 400, unless it is caught."""


class Headers(Mapping):
    """Header fields by name, ignoring case. Fields of the same name are joined."""

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
        """The fields of one name, separately."""
        return list(self._fields.get(name.lower(), ()))


class Request:
    """One call. Expensive parts are made on demand."""

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
            if length <= len(connection.buffer):  # it has all arrived
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
        """The query as it was sent; target is the whole of path and query."""
        return self.target.partition("?")[2]

    @property
    def query(self):
        """The query's values by name; the first, if a name appears twice."""
        from urllib.parse import parse_qsl

        values = {}
        for name, value in parse_qsl(self.query_string, keep_blank_values=True):
            values.setdefault(name, value)
        return values

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
        return {
            name[len(prefix) :]: value.encode("latin-1").decode("utf-8", "replace")
            for name, value in self.headers.items()
            if name.startswith(prefix)
        }

    @property
    def body(self):
        """The body, or the rest of it that the stream has not read."""
        if self._content is None:
            self._content = (self._stream or self._body).read()
        return self._content

    @property
    def stream(self):
        """The body as a binary file, for bodies too long to hold."""
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
    """A request's body as it arrives: length bytes, or chunks if length is None."""

    def __init__(self, connection, length, fields):
        self.connection = connection
        self.chunked = length is None
        self.left = length or 0  # bytes until the end of the body, or of the chunk
        self.ended = False
        self.expected = b"\r\nexpect:" in fields  # the client waits for a 100 Continue

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
        """Whether the rest is short enough to read just to reach the next request."""
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
                raise Gone from None  # the peer does not speak HTTP
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
