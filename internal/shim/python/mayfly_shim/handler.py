"""Calls handle(request) and turns its results into responses."""

import functools

from .reply import header_lines


class Handler:
    """Answers with the user's handle(request)."""

    def __init__(self, handle):
        self.handle = handle

    def __call__(self, request, reply):
        wait = reply.connection.wait
        result = self.handle(request)
        if hasattr(result, "__await__"):  # from an async def, or a function that calls one
            result = wait(result)
        reply_with(reply, result, wait)


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
            raise ValueError(f"handle returned status {status!r}: return a number from 200 to 599")
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


def content(result):
    """A value's Content-Type and body, or None if it is not a body."""
    if isinstance(result, str):
        return b"Content-Type: text/plain; charset=utf-8\r\n", result.encode("utf-8", "surrogateescape")
    if isinstance(result, (dict, list)):
        return b"Content-Type: application/json\r\n", encode_json()(result).encode()
    if isinstance(result, (bytes, bytearray, memoryview)):
        return b"", bytes(result)
    if result is None:
        return b"", b""
    return None


@functools.lru_cache(None)
def encode_json():
    import json

    return json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def stream(reply, items, status, lines, at_once):
    """Writes a chunk for each item. The head is sent with the first one, so that a
    generator that fails earlier becomes a 502; only a client of events must learn
    at once that it is connected."""
    try:
        if at_once:
            reply.begin(status, lines)
            reply.chunk(b"")
        for item in () if reply.head else items:
            if isinstance(item, str):
                item = item.encode("utf-8", "surrogateescape")
            elif not isinstance(item, (bytes, bytearray, memoryview)):
                raise TypeError(f"the generator yielded {type(item).__name__}: yield str or bytes")
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
    """Iterates over an async generator as over a plain one."""
    try:
        while True:
            try:
                yield wait(items.__anext__())
            except StopAsyncIteration:
                return
    finally:
        if hasattr(items, "aclose"):
            wait(items.aclose(), last=True)
