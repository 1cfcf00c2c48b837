"""Calls handle(request) and turns its results into responses."""

import functools

from .exchange import DONE, TEXT
from .reply import header_lines

JSON = b"content-type:application/json\n"


class Handler:
    """Answers with the user's handle(request)."""

    def __init__(self, handle):
        self.handle = handle

    def __call__(self, call):
        result = call.expose(self.handle, call.request)
        if hasattr(result, "__await__"):  # from a function that calls an async def
            result = call.settle(result)
        whole, status, lines, body = answer(result)
        if whole:
            call.reply(status, lines, body)
        else:
            stream(call, in_turn(call, body) if hasattr(body, "__anext__") else body, status, lines)


def answer(result):
    """Whether what handle returned is whole, the reply's status and header lines, and its body
    or a generator of it."""
    given = content(result)
    if given is not None:
        return True, 204 if result is None else 200, *given

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
        return True, status, lines if "content-type" in names else kind + lines, body
    if not hasattr(result, "__next__") and not hasattr(result, "__anext__"):
        raise TypeError(
            f"handle returned {type(result).__name__}: return str, bytes, dict, list, None, "
            "(body, status[, headers]) or a generator"
        )
    return False, status, lines, result


def content(result):
    """A value's Content-Type and body, or None if it is not a body."""
    if isinstance(result, str):
        return TEXT, result.encode("utf-8", "surrogateescape")
    if isinstance(result, (dict, list)):
        return JSON, encode_json()(result).encode()
    if isinstance(result, (bytes, bytearray, memoryview)):
        return b"", bytes(result)
    if result is None:
        return b"", b""
    return None


@functools.lru_cache(None)
def encode_json():
    import json

    return json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def stream(call, items, status, lines):
    """Sends each item at once. The head is sent with the first one, so that a generator that
    fails earlier becomes a 502; only a client of events must learn at once that it is
    connected."""
    try:
        if b"text/event-stream" in lines:
            call.begin(status, lines)
            call.chunk(b"")
        while not call.bare and (item := call.step(items)) is not DONE:
            item = encode(item)
            if not call.begun:
                call.begin(status, lines)
            call.chunk(item)
        if not call.begun:
            call.begin(status, lines)
        call.end()
    finally:
        if hasattr(items, "close"):
            items.close()


def encode(item):
    """What a generator yielded, as bytes."""
    if isinstance(item, str):
        return item.encode("utf-8", "surrogateescape")
    if not isinstance(item, (bytes, bytearray, memoryview)):
        raise TypeError(f"the generator yielded {type(item).__name__}: yield str or bytes")
    return item


def in_turn(call, items):
    """Iterates over an async generator as over a plain one."""
    try:
        while True:
            try:
                yield call.settle(items.__anext__())
            except StopAsyncIteration:
                return
    finally:
        if hasattr(items, "aclose"):
            call.settle(items.aclose(), last=True)
