"""A call, as far as both servers agree: the request's body as it arrives, and the reply."""

from collections import deque

from .crash import report
from .link import BODY, CREDIT, DATA, END, ERROR, HEAD, NUMBER, WINDOW, leave
from .output import ERR
from .request import BadRequest, Request

NO_BODY = (204, 205, 304)  # RFC 9110, 15.3.5, 15.3.6, 15.4.5
NO_LENGTH = (204, 304)  # a 205 states its length
DONE = object()  # in place of an item: there are no more
TEXT = b"content-type:text/plain; charset=utf-8\n"


class Exchange:
    """One call. The server's own kind of it waits: wait returns once more of the request may
    have come, or more of the reply may be sent."""

    begun = False  # some of the reply is sent, or goes with the next chunk
    sent = False  # all of it is
    over = False  # nobody waits for the reply
    pending = b""  # the unsent head
    left = None  # bytes missing from a stream of known length
    granted = 0  # bytes that were read and not granted again
    credit = WINDOW  # bytes of the reply that may be sent

    def __init__(self, server, number, flags, head, body):
        self.server = server
        self.link = server.link
        self.number = number
        self.bare = head.startswith(b"HEAD ")  # the reply has no body
        self.complete = flags == END  # the request
        if self.complete:
            self.request = Request(head, body, None)
        else:
            self.request = Request(head, None, self)
            self.pieces = deque((body,) if body else ())
            self.window = WINDOW - len(body)  # bytes of the request that may come

    # What the node sends

    def receive(self, kind, flags, body):
        """Takes a frame that follows the head."""
        if kind == DATA and not self.complete:
            self.window -= len(body)
            if self.window < 0:
                leave("the node sent more of a body than it was granted")
            if body:
                self.pieces.append(body)
            self.complete = flags == END
        elif kind == CREDIT:
            self.credit += NUMBER.unpack(body)[0]
        elif kind != DATA and not self.sent:  # CANCEL or ERROR: the client has left
            return self.interrupt()
        self.ring()

    def some(self, limit):
        """Up to limit bytes of the request's body that have come, or None if there is more to come."""
        complete = self.complete  # before the last look
        if not self.pieces:
            return b"" if complete else None
        piece = self.pieces.popleft()
        if len(piece) > limit:
            self.pieces.appendleft(piece[limit:])
            piece = piece[:limit]
        self.granted += len(piece)
        if self.granted >= BODY and not self.complete:
            more, self.granted = self.granted, 0
            self.window += more
            self.link.send(self.number, CREDIT, 0, b"", NUMBER.pack(more))
            self.flush()
        return piece

    # The reply

    def whole(self, status, lines, body):
        """Sends a short reply at once, and reports whether it was short."""
        if status in NO_BODY:
            body = b""
        size = len(body)
        if size > BODY and not self.bare:
            return False
        if (self.bare or status == 205) and status not in NO_LENGTH:
            lines += b"content-length:%d\n" % size
        head = head_of(status, lines)
        self.begun = True
        self.finish(HEAD, head, b"" if self.bare else body)
        return True

    def begin(self, status, lines, length=None):
        """Begins a stream; the head is sent with its first chunk."""
        if status == 205:
            lines += b"content-length:0\n"
        elif length is not None and status not in NO_LENGTH:
            lines += b"content-length:%d\n" % length
        if status in NO_BODY:
            self.bare = True
        self.pending = head_of(status, lines)
        self.begun, self.left = True, length

    def parts(self, data):
        """Sends a part of a stream, and yields when it has to wait for credit."""
        if self.bare:
            data = b""
        elif self.left is not None:
            if len(data) > self.left:
                raise ValueError("the body is longer than its Content-Length")
            self.left -= len(data)
        rest = memoryview(data).cast("B")
        while rest or self.pending:
            if self.credit <= 0 and rest:
                self.flush()
                yield
                continue
            size = min(len(rest), self.credit, BODY)
            self.credit -= size
            self.link.send(self.number, HEAD if self.pending else DATA, 0, self.pending, rest[:size])
            rest, self.pending = rest[size:], b""
        self.flush()

    def end(self):
        """Ends a stream."""
        if self.left and not self.bare:
            raise ValueError(f"the body is {self.left} bytes shorter than its Content-Length")
        self.finish(HEAD if self.pending else DATA, self.pending, b"")

    def fail(self, error):
        """Tells the log and the node that the user's code failed."""
        if isinstance(error, BadRequest) and not self.begun:
            return self.whole(400, TEXT, f"{error}\n".encode("utf-8", "replace"))
        text, line = report(error)
        ERR.write(text)
        self.finish(ERROR, line, text.encode("utf-8", "replace")[:BODY])

    def finish(self, kind, head, body):
        """Sends the last frame."""
        if not self.sent and not self.over:
            self.sent = True
            self.link.send(self.number, kind, END, head, body)


def head_of(status, lines):
    head = b"%d\n%b" % (status, lines)
    if len(head) > 0xFFFF:
        raise ValueError(f"the reply's headers have {len(head)} bytes, and 65,535 is the most")
    return head
