"""One function that can do whatever TestPythonAnswers and its neighbours ask of it."""

import sys
import threading
import time

import friend


async def later(request):
    import asyncio

    await asyncio.sleep(0)
    print("from async")
    return {"call": request.call}


async def forever(request):
    import asyncio

    print("waiting")
    try:
        await asyncio.Event().wait()
    finally:
        print("cancelled")


async def async_ticks(request):
    import asyncio

    try:
        yield "one\n"
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0)
        print("async generator closed")


def ticks(request):
    try:
        for n in range(1 << 30):
            yield f"{n}\n"
            time.sleep(0.001)
    except GeneratorExit:
        print("generator closed")
        raise


def idle(request):
    try:
        yield "one\n"
        while True:
            time.sleep(0.01)
    finally:
        print("idle generator closed")


def busy(request):
    try:
        print("busy")
        while True:
            time.sleep(0.01)
    finally:
        print("busy ended")


def broken_stream(request):
    yield "one"
    raise RuntimeError("half-way")


def fails_first(request):
    raise RuntimeError("before the first")
    yield


def chained(request):
    try:
        friend.fail()
    except ZeroDivisionError as e:
        raise RuntimeError("so") from e


def talk(request):
    print("a", "b")
    print("two\nlines", file=sys.stderr)
    sys.stdout.write("no end")
    return "said"


def gate(request):
    print("at the gate")
    return request.body  # comes when the test lets it


def pieces(request):
    total = 0
    while piece := request.stream.read(1000):
        total += len(piece)
    return {"bytes": total}


def square(n):
    return n * n


def pool(request):
    from multiprocessing import get_context

    with get_context("fork").Pool(2) as workers:  # its end sends SIGTERM to them and waits
        return workers.map(square, [1, 2, 3])


def terminated(request):
    from multiprocessing import get_context

    child = get_context("fork").Process(target=threading.Event().wait)
    child.start()
    child.terminate()
    child.join()
    return {"exit": child.exitcode}


def fork(request):
    import os

    child = os.fork()
    return str(os.waitpid(child, 0)[1]) if child else "the child's"


class Unprintable(Exception):
    def __str__(self):
        return 1 / 0


def unprintable(request):
    raise Unprintable


def long(request):
    for n in range(16):
        yield bytes([n]) * (1 << 20)


def leave(request):
    sys.exit("leaving")


PATHS = {
    "/str": lambda r: "grüß",
    "/bytes": lambda r: b"\x00\x01",
    "/dict": lambda r: {"a": [1, None], "ü": True},
    "/list": lambda r: [1, 2],
    "/none": lambda r: None,
    "/status": lambda r: ("made", 201),
    "/headers": lambda r: ("<b>", 200, {"Content-Type": "text/html", "X-One": 1, "Set-Cookie": ["a=1", "b=2"], "Content-Length": 99}),
    "/pairs": lambda r: (None, 304, [("ETag", '"x"')]),
    "/gone": lambda r: (None, 410),
    "/reset": lambda r: ("fill it in again", 205, {"X-None": None, "X-Some": ["a", None]}),
    "/reset-stream": lambda r: (iter("ab"), 205),
    "/pool": pool,
    "/terminated": terminated,
    "/generator": lambda r: (str(n) for n in range(3)),
    "/generator-status": lambda r: ((b for b in [b"a", b"", b"b"]), 203, {"X-S": "1"}),
    "/empty-generator": lambda r: iter(()),
    "/events": lambda r: (iter(["data: 1\n\n"]), 200, {"Content-Type": "text/event-stream"}),
    "/method": lambda r: f"{r.method} {r.path} {r.query_string}",
    "/query": lambda r: r.query,
    "/params": lambda r: r.params,
    "/call": lambda r: r.call,
    "/header": lambda r: [r.headers["X-A"], r.headers.get("x-a"), "X-NO" in r.headers, r.headers.get_all("X-A"), r.headers["COOKIE"]],
    "/text": lambda r: r.text(),
    "/json": lambda r: {"got": r.json()},
    "/body": lambda r: r.body,
    "/length": lambda r: str(len(r.body)),
    "/twice": lambda r: r.body + r.body + r.stream.read(),
    "/lines": lambda r: [line.decode() for line in r.stream],
    "/ignore": lambda r: "ignored",
    "/crash": lambda r: friend.fail(),
    "/int": lambda r: 42,
    "/bad-status": lambda r: ("x", 1000),
    "/bad-header": lambda r: ("x", 200, {"X": "a\r\nY: b"}),
    "/bad-name": lambda r: ("x", 200, {"X Y": "a"}),
    "/nan": lambda r: {"x": float("nan")},
    "/thread": lambda r: threading.current_thread().name,
    "/later": later,
    "/forever": forever,
    "/async-generator": async_ticks,
    "/ticks": ticks,
    "/idle": idle,
    "/busy": busy,
    "/broken-stream": broken_stream,
    "/fails-first": fails_first,
    "/chained": chained,
    "/talk": talk,
    "/gate": gate,
    "/pieces": pieces,
    "/fork": fork,
    "/long": long,
    "/latin": lambda r: (r.headers["X-A"], 200, {"X-A": "é", "X-B": r.headers["X-A"]}),
    "/exit": leave,
    "/unprintable": unprintable,
}


def handle(request):
    return PATHS["/method" if request.path.startswith("/method") else request.path](request)


threading.Thread(target=threading.Event().wait).start()  # never ends, and must not keep us
