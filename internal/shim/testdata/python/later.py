"""An async function, for TestAsyncPython and its neighbors."""

import asyncio
import contextvars
import sys
import time


async def ticks(request):
    try:
        yield "one\n"
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0)
        print("async generator closed")


async def forever(request):
    print("waiting")
    try:
        await asyncio.Event().wait()
    finally:
        print("canceled")


async def counts(request):
    return {"bytes": sum([len(piece) for piece in iter(lambda: request.stream.read(1000), b"")])}


async def in_thread(request):
    return await asyncio.get_running_loop().run_in_executor(None, lambda: request.body)


async def leave(request):
    sys.exit("leaving")


def slowly():
    for n in range(3):
        time.sleep(0.01)
        yield str(n)


async def late(request):
    yield "begun"
    raise RuntimeError("half-way")


async def long(request):
    for n in range(16):
        yield bytes([n]) * (1 << 20)


async def gate(request):
    print("at the gate")
    await asyncio.sleep(0)
    return request.body


async def talk(request):
    print("said")
    await asyncio.get_running_loop().run_in_executor(None, contextvars.copy_context().run, print, "and in a thread")


async def handle(request):
    await asyncio.sleep(0)
    if request.path == "/ticks":
        return ticks(request)
    if request.path == "/late":
        return late(request)
    if request.path == "/long":
        return long(request)
    if request.path == "/plain-generator":
        return slowly()
    if request.path == "/status":
        return "made", 201, {"X-A": "é"}
    if request.path == "/none":
        return None
    if request.path == "/text":
        return request.text()
    if request.path == "/json":
        return request.json()
    return await {"/forever": forever, "/counts": counts, "/in-thread": in_thread, "/exit": leave, "/gate": gate, "/talk": talk}[request.path](request)
