"""Calls async code. All calls share one event loop, in the main thread, which reads the link
too. What they send in one turn of the loop is written at once."""

import asyncio
import os
import socket
import threading
import time

from .crash import trace
from .exchange import Exchange
from .link import HEAD, LAST, PATIENCE, SIGNALS, Link
from .output import CALL, ERR, OUT
from .request import Gone


def serve(path, answer):
    """Serves until a signal."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(Server(loop, answer).run(path))


class Server:
    """Reads the link and runs a task for each call."""

    def __init__(self, loop, answer):
        self.loop = loop
        self.answer = answer
        self.thread = threading.get_ident()
        self.tasks = set()  # of calls, also of those that work on after their reply
        self.due = False  # a flush
        self.stopping = loop.create_future()

    async def run(self, path):
        """Serves until SIGTERM or the end of the link, then finishes the calls in flight, or
        cancels them at the deadline."""
        try:
            await self.answer.begin()
        except Exception as e:
            ERR.write(trace(e))
            os._exit(1)
        self.link = Link(path)
        for number in SIGNALS:
            self.loop.add_signal_handler(number, self.stop)
        self.link.stay_out_of_children(lambda: None)
        self.loop.add_reader(self.link.sock.fileno(), self.read, socket.MSG_DONTWAIT)
        await self.stopping
        deadline = time.monotonic() + PATIENCE
        await self.ended(PATIENCE)
        for call in list(self.link.calls.values()):
            call.interrupt()
        await self.ended(max(LAST, deadline - time.monotonic()))
        for task in list(self.tasks):
            task.cancel()
        await self.ended(LAST)
        self.link.flush()
        await self.answer.end()

    async def ended(self, seconds):
        """Waits for all calls to end."""
        if self.tasks:
            await asyncio.wait(set(self.tasks), timeout=seconds)

    def stop(self):
        if not self.stopping.done():
            self.stopping.set_result(None)

    def read(self, flags=0):
        """Takes what has come, or waits for it. Where a call waits, it may have taken what the
        loop is about to read."""
        link = self.link
        data = link.read(flags)
        if data is None:
            return
        if not data:
            return self.end()
        for number, kind, flags, head, body in link.frames(data):
            if kind == HEAD:
                call = link.calls[number] = Call(self, number, flags, head, body)
                call.task = self.loop.create_task(call.run())
                self.tasks.add(call.task)
            elif number in link.calls:
                link.calls[number].receive(kind, flags, body)

    def end(self):
        """The node has closed the link: nobody waits for anything."""
        self.loop.remove_reader(self.link.sock.fileno())
        for call in list(self.link.calls.values()):
            call.interrupt()
        self.stop()

    def flush_soon(self):
        """Flushes after all that is ready now has run."""
        if not self.due:
            self.due = True
            self.loop.call_soon(self.flush)

    def flush(self):
        self.due = False
        self.link.flush()


class Call(Exchange):
    """One call, in its task."""

    running = False  # its task has begun
    waiting = ()  # futures

    async def run(self):
        self.running = True
        request = self.request
        CALL.set(request)
        try:
            if not self.over:  # already
                await self.server.answer(self)
        except BaseException as e:  # a SystemExit would end the loop
            if not self.over:
                self.fail(e)
        finally:
            self.link.calls.pop(self.number, None)
            self.server.tasks.discard(self.task)
            OUT.finish(request)
            ERR.finish(request)
            self.flush()

    def interrupt(self):
        """The client has left."""
        if self.over or self.sent:
            return
        self.over = True
        self.ring()
        if self.server.answer.cancels and self.running:
            self.task.cancel()

    def flush(self):
        self.server.flush_soon()

    async def wait(self):
        """Waits until something has happened to the call."""
        future = self.server.loop.create_future()
        self.waiting = (*self.waiting, future)
        await future

    def ring(self):
        waiting, self.waiting = self.waiting, ()
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def take(self, limit):
        """Some of the request's body, or nothing at its end. Blocks the loop, as the request's
        plain methods must, or another thread that the user's code has."""
        if threading.get_ident() != self.server.thread:
            return asyncio.run_coroutine_threadsafe(self.piece(limit), self.server.loop).result()
        while (piece := self.some(limit)) is None:
            if self.over:
                raise Gone
            self.link.flush()
            self.server.read()
        return piece

    async def piece(self, limit):
        """Some of the request's body, or nothing at its end."""
        while (piece := self.some(limit)) is None:
            if self.over:
                raise Gone
            await self.wait()
        return piece

    async def reply(self, status, lines, body):
        """Sends a whole reply."""
        if not self.whole(status, lines, body):
            self.begin(status, lines, len(body))
            await self.chunk(body)
            self.end()

    async def chunk(self, data):
        """Sends a part of a stream, as fast as the client takes it."""
        for _ in self.parts(data):
            await self.wait()
            if self.over:
                raise Gone
