"""Calls async def handle(request), and turns its results into replies."""

import asyncio
import contextvars

from .exchange import DONE
from .handler import answer, encode


class Handler:
    """Answers with the user's async handle(request)."""

    cancels = True  # the task of a call whose client has left

    def __init__(self, handle):
        self.handle = handle

    async def begin(self):
        pass

    async def end(self):
        pass

    async def __call__(self, call):
        result = self.handle(call.request)
        if hasattr(result, "__await__"):
            result = await result
        whole, status, lines, body = answer(result)
        if whole:
            await call.reply(status, lines, body)
        else:
            await stream(call, body if hasattr(body, "__anext__") else InThread(body), status, lines)


async def stream(call, items, status, lines):
    """Sends each item at once, as handler.stream does."""
    try:
        if b"text/event-stream" in lines:
            call.begin(status, lines)
            await call.chunk(b"")
        if not call.bare:
            async for item in items:
                item = encode(item)
                if not call.begun:
                    call.begin(status, lines)
                await call.chunk(item)
        if not call.begun:
            call.begin(status, lines)
        call.end()
    finally:
        if hasattr(items, "aclose"):
            await items.aclose()


class InThread:
    """Iterates over a plain generator, which may block."""

    def __init__(self, items):
        self.items = items

    def __aiter__(self):
        return self

    async def __anext__(self):
        item = await self.run(next, self.items, DONE)
        if item is DONE:
            raise StopAsyncIteration
        return item

    async def aclose(self):
        if hasattr(self.items, "close"):
            await self.run(self.items.close)

    def run(self, function, *args):
        context = contextvars.copy_context()
        return asyncio.get_running_loop().run_in_executor(None, context.run, function, *args)
