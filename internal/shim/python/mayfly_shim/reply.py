"""The response to a request, on its way out."""

import functools

TOKEN = str.maketrans("", "", "!#$%&'*+-.^_`|~")  # allowed in names besides letters and digits
BREAKS = str.maketrans("", "", "\r\n\0")
NO_BODY = (204, 205, 304)  # RFC 9110, 15.3.5, 15.3.6, 15.4.5
NO_LENGTH = (204, 304)  # a 205 states its length
FRAMING = ("content-length", "transfer-encoding", "connection", "keep-alive")


class Reply:
    """Writes the response to one request."""

    begun = False  # the head is written, or goes out with the next chunk
    pending = b""  # the unwritten head
    left = None  # bytes missing from a stream of known length
    open = False  # a stream that must be terminated
    last = False  # the connection ends with this reply, and the client knows

    def __init__(self, connection, request):
        self.connection = connection
        self.head = request.method == "HEAD"
        self.body = request._body

    def whole(self, status, lines, body, reason=""):
        """Writes a response at once."""
        self.begun = True
        if status in NO_BODY:
            body = b""
        if status not in NO_LENGTH:
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
        """Begins a stream; the head is sent with its first chunk."""
        self.begun = self.open = True
        self.left = length
        if status in NO_BODY:
            self.head = True
        if status == 205:
            lines += b"Content-Length: 0\r\n"
        elif status in NO_LENGTH:
            pass
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


def header_lines(headers):
    """The header as bytes, and the names in it. The shim decides the framing, so the
    user's framing headers are dropped, and so are values of None."""
    text, names = "", set()
    for name, value in headers.items() if hasattr(headers, "items") else headers:
        if not isinstance(name, str) or not name.isascii() or not name.translate(TOKEN).isalnum():
            raise ValueError(f"{name!r} is not a header name")
        if name.lower() in FRAMING:
            continue
        names.add(name.lower())
        for one in value if isinstance(value, (list, tuple)) else (value,):
            if one is None:
                continue
            one = str(one)
            if one.translate(BREAKS) != one:
                raise ValueError(f"the header {name} contains a line break or NUL: {one!r}")
            text += f"{name}: {one}\r\n"
    try:
        return text.encode("latin-1"), names
    except UnicodeEncodeError:
        raise ValueError(f"headers can hold Latin-1 text only: {text!r}") from None
