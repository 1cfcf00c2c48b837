"""An ASGI application without a framework, for TestASGI and its neighbors."""

import asyncio
import contextvars
import sys

STATE = {}


async def lifespan(receive, send):
    assert (await receive())["type"] == "lifespan.startup"
    print("started")
    STATE["ready"] = True
    await send({"type": "lifespan.startup.complete"})
    assert (await receive())["type"] == "lifespan.shutdown"
    print("shut down")
    await send({"type": "lifespan.shutdown.complete"})


async def body_of(receive):
    parts = []
    while True:
        message = await receive()
        assert message["type"] == "http.request", message
        parts.append(message["body"])
        if not message["more_body"]:
            return parts


def start(send, status=200, headers=((b"content-type", b"text/plain"),)):
    return send({"type": "http.response.start", "status": status, "headers": list(headers)})


def part(send, body, more=False):
    return send({"type": "http.response.body", "body": body, "more_body": more})


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        scope["state"]["word"] = "from the start"
        return await lifespan(receive, send)
    path = scope["path"][len(scope["root_path"]) :]
    if path == "/echo":
        body = b"".join(await body_of(receive))
        await start(send, 201, [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"X-Read", str(len(body)).encode())])
        await part(send, body)
    elif path == "/scope":
        await start(send)
        headers = dict(scope["headers"])
        shown = [scope[n] for n in ("method", "scheme", "path", "raw_path", "root_path", "query_string", "client", "server")]
        await part(send, repr([*shown, headers[b"x-a"], scope["state"], STATE]).encode())
    elif path == "/length":
        await start(send, headers=[(b"content-length", b"6")])
        await part(send, b"abc", True)
        await part(send, b"def")
    elif path == "/parts":
        await start(send)
        for piece in b"abc", b"", b"def":
            await part(send, piece, True)
        await part(send, b"")
    elif path == "/nothing":
        await start(send, 204, [])
        await part(send, b"")
    elif path == "/long":
        await start(send)
        for n in range(64):
            await part(send, bytes([n]) * (1 << 20), n < 63)
    elif path == "/events":
        await start(send, headers=[(b"content-type", b"text/event-stream")])
        print("connected")
        assert (await receive())["type"] == "http.request"
        assert (await receive())["type"] == "http.disconnect"
        print("told of the end")
        try:
            await part(send, b"data: 1\n\n", True)
        except OSError as e:
            print(type(e).__name__)
    elif path == "/flood":
        await start(send)
        try:
            while True:
                await part(send, b"x" * (1 << 20), True)
        finally:
            print("flood ended")
    elif path == "/hang":
        await start(send, headers=[(b"content-type", b"text/event-stream")])
        try:
            await asyncio.Event().wait()
        finally:
            print("hang ended")
    elif path == "/stall":
        await start(send)
        try:
            await asyncio.wait_for(part(send, b"x" * (8 << 20), True), 0.05)
        except asyncio.TimeoutError:
            pass
        try:
            await part(send, b"more")
        except RuntimeError:
            print("cut")
    elif path == "/twice":
        messages = await asyncio.gather(receive(), receive())
        await start(send)
        await part(send, b"".join(m["body"] for m in messages))
    elif path == "/after":
        await start(send)
        await part(send, b"done")
        print("working on")
        await asyncio.sleep(0.05)
        assert (await receive())["type"] == "http.disconnect"
        print("and done")
    elif path == "/gate":
        print("at the gate")
        await start(send)
        await part(send, b"".join(await body_of(receive)))
    elif path == "/talk":
        print("said in a call")
        await asyncio.get_running_loop().run_in_executor(None, contextvars.copy_context().run, print, "and in a thread")
        await start(send, 204)
        await part(send, b"")
    elif path == "/late":
        await start(send)
        await part(send, b"begun", True)
        raise RuntimeError("half-way")
    elif path == "/silent":
        return
    elif path == "/leave":
        sys.exit("leaving")
    else:
        raise RuntimeError("boom")
