"""The request that a function sees."""

import io
from collections.abc import Mapping


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
            self._fields.setdefault(name.lower(), []).append(value)

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

    __slots__ = ("_head", "_line", "_headers", "_content", "_exchange", "_stream", "_call")

    def __init__(self, head, content, call):
        self._head = head
        self._content = content  # the whole body, or None while it arrives
        self._exchange = call  # from which it is read
        self._headers = self._stream = self._call = self._line = None

    @property
    def method(self):
        return self._first()[0]

    @property
    def target(self):
        return self._first()[1]

    def _first(self):
        if self._line is None:
            method, _, target = self._head[: self._head.index(b"\n")].decode("latin-1").partition(" ")
            self._line = method, target
        return self._line

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
            self._headers = Headers(self._head.decode("latin-1").split("\n")[1:-1])
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
            self._content = self.stream.read()
        return self._content

    @property
    def stream(self):
        """The body as a binary file, for bodies too long to hold."""
        if self._stream is None:
            whole = self._content is not None
            self._stream = io.BytesIO(self._content) if whole else io.BufferedReader(Body(self._exchange), 64 << 10)
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
    """A request's body as it arrives."""

    def __init__(self, call):
        self.call = call

    def readable(self):
        return True

    def readinto(self, into):
        data = self.call.take(len(into))
        into[: len(data)] = data
        return len(data)

    def readall(self):
        return b"".join(iter(lambda: self.call.take(1 << 20), b""))
