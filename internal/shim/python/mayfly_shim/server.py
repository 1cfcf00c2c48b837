"""Calls plain code, in threads.

One thread at a time reads the link, and runs the calls that it finds there itself: most
take microseconds, and to hand one to another thread takes longer. While it runs the
user's code it leaves its turn to read on a table, and another thread may take it from
there:

    turn: read ──► a call: put the turn down ──► run it ──► pick the turn up ──► read ...
                         └─► still there after a moment: another thread takes it

A function whose calls wait, for a database say, is known after the first: then another
thread is woken before each call.
"""

import _signal as signal
import os
import select
import threading
import time

from .exchange import DONE, Exchange
from .link import HEAD, LAST, PATIENCE, SIGNALS, Link, leave
from .output import CALL, ERR, OUT
from .request import Gone

MOMENT = 5  # milliseconds until a call that is not over counts as waiting: as often as Python switches threads
PARKED = 10  # moments without a call after which the main thread sleeps
WARY = 64  # calls after one that waited before which another thread is woken
SOON = 0.0005  # seconds that a reply may wait for others
SPARE = 30  # seconds that a thread waits for work


def serve(path, answer):
    """Serves until a signal."""
    Server(Link(path), answer).run()


class Server:
    """The main thread supervises; the others read and run calls."""

    def __init__(self, link, answer):
        self.link = link
        self.answer = answer
        self.frames = iter(())  # that were read and not looked at
        self.table = []  # holds the turn while its owner runs a call
        self.begun = 0  # calls
        self.wary = 0  # calls
        self.waits = False  # a call that was just found not to be over waits, and does not compute
        self.idle = []  # locks that idle threads wait for
        self.coming = False  # a thread that was woken
        self.parked = False
        self.reading = False
        self.stopping = False
        self.interrupting = threading.Lock()

    # The main thread

    def run(self):
        """Serves until SIGTERM or the end of the link, then finishes the calls in flight, or
        interrupts them at the deadline."""
        self.signals, self.told = os.pipe()
        os.set_blocking(self.told, False)
        signal.set_wakeup_fd(self.told, warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, self.stop)
        self.link.stay_out_of_children(self.table.clear)
        self.poll = select.poll()
        self.poll.register(self.signals, select.POLLIN)
        self.table.append(None)
        self.start()
        self.watch()
        deadline = time.monotonic() + PATIENCE
        if not self.ended(deadline):
            for call in list(self.link.calls.values()):
                call.interrupt()
            self.ended(deadline + LAST)

    def watch(self):
        """Wakes a thread for the turn whenever its owner is stuck in a call."""
        seen, quiet = 0, 0
        while not self.stopping:
            self.parked = quiet >= PARKED
            since = time.monotonic()
            self.rest(None if self.parked and self.begun == seen else MOMENT)
            self.parked = False
            if self.begun != seen:
                seen, quiet = self.begun, 0
            elif self.table:
                # While code computes, in its thread or elsewhere on a busy machine, we are late.
                self.waits = time.monotonic() - since < MOMENT / 1000 * 1.5
                self.help()
            else:
                quiet += 1

    def rest(self, milliseconds):
        """Waits for a signal, or to be woken."""
        if self.poll.poll(milliseconds):
            os.read(self.signals, 4096)

    def wake(self):
        """Wakes the main thread."""
        self.parked = False
        try:
            os.write(self.told, b"\0")
        except BlockingIOError:
            pass  # it has been woken more often than it could read

    def ended(self, deadline):
        """Waits for all calls to end, and returns whether they have by the deadline."""
        while (left := deadline - time.monotonic()) > 0:
            if self.reading and not self.link.calls:
                return True
            self.rest(min(MOMENT, left * 1000))
            if self.table:
                self.help()
        return False

    def stop(self, *_):
        """Handles a signal by setting a flag: an exception would interrupt whatever the
        main thread is doing, such as holding the lock of a thread that it starts."""
        self.stopping = True

    # The other threads

    def help(self):
        """Brings a thread that takes the turn if it still lies there."""
        if self.coming:
            return
        self.coming = True
        try:
            self.idle.pop().release()
        except IndexError:
            self.start()

    def start(self):
        try:
            threading.Thread(target=self.work, daemon=True).start()
        except RuntimeError:  # too many threads: calls wait for those that are there
            self.coming = False

    def work(self):
        """What a thread does: take the turn when it is there, and wait to be woken."""
        lock = threading.Lock()
        lock.acquire()
        while True:
            self.coming = False
            try:
                self.table.pop()
            except IndexError:
                pass
            else:
                if self.waits or self.wary:
                    self.wary = WARY
                self.waits = False
                try:
                    self.link.flush()  # what the last owner could not
                    self.lead()
                except BaseException as e:  # rather than to keep the turn forever
                    leave(f"the server of calls failed: {e!r}")
            if self.link.child:
                os._exit(0)
            self.idle.append(lock)
            if not lock.acquire(timeout=SPARE):
                try:
                    return self.idle.remove(lock)
                except ValueError:
                    lock.acquire()  # it was just woken

    def lead(self):
        """Reads and runs calls, until another thread takes the turn."""
        link, table, clock = self.link, self.table, time.monotonic
        since = clock()
        while True:
            frames = self.frames
            for number, kind, flags, head, body in frames:
                if kind != HEAD:
                    if number in link.calls:
                        link.calls[number].receive(kind, flags, body)
                    continue
                call = link.calls[number] = Call(self, number, flags, head, body)
                self.begun += 1
                table.append(None)
                if self.parked:
                    self.wake()
                if self.wary:
                    self.wary -= 1
                    self.help()
                call.run()
                try:
                    table.pop()
                except IndexError:
                    link.flush()
                    return
                if link.out and clock() - since > SOON:
                    link.flush()
                    since = clock()
            if frames is not self.frames:
                continue  # another thread had the turn meanwhile
            link.flush()
            self.reading = True
            data = link.read()
            self.reading = False
            since = clock()
            if not data:
                return self.end()
            self.frames = link.frames(data)

    def end(self):
        """The node has closed the link: nobody waits for anything."""
        if self.link.child:
            os._exit(0)
        self.reading = True
        for call in list(self.link.calls.values()):
            call.interrupt()
        self.stopping = True
        self.wake()


class Call(Exchange):
    """One call, in the thread that runs it."""

    exposed = False  # the user's code runs, and may be interrupted by an exception
    cancel = None  # tells the work on the event loop, which the thread waits for, that the client has left
    bell = None  # a lock that the thread waits for

    def run(self):
        request = self.request
        self.thread = threading.get_ident()
        CALL.set(request)
        try:
            self.server.answer(self)
        except BaseException as e:
            self.exposed = False
            if self.over:
                self.hide()
            else:
                self.fail(e)
        finally:
            self.link.calls.pop(self.number, None)
            OUT.finish(request)
            ERR.finish(request)

    # The client has left

    def interrupt(self):
        """Tells the thread that nobody waits for the reply."""
        with self.server.interrupting:
            if self.over or self.sent:
                return
            self.over = True
            if self.cancel is not None:
                Loop.loop.call_soon_threadsafe(self.cancel)
            elif self.exposed:
                interrupt(self.thread, Gone)
            else:
                self.ring()

    def hide(self):
        """Takes back the exception that is on its way to this thread, if there is one, after
        exposed was set to False, and returns it."""
        with self.server.interrupting:  # until it is on its way
            try:
                interrupt(self.thread, None)
            except Gone:
                pass  # it has just come
        return Gone()

    # Waiting

    def wait(self):
        """Waits until more has come or is granted, or perhaps a little less."""
        if self.bell is None:
            self.bell = threading.Lock()
            self.bell.acquire()
            return  # to look again: it may have come while there was no bell
        if self.server.table:
            self.server.help()
        self.bell.acquire()
        if self.over:
            raise self.hide()

    def ring(self):
        bell = self.bell
        if bell is not None and bell.locked():
            try:
                bell.release()
            except RuntimeError:
                pass  # another thread was faster

    def take(self, limit):
        """Some of the request's body, or nothing at its end."""
        exposed, self.exposed = self.exposed, False
        try:
            while not self.over:
                piece = self.some(limit)
                if piece is not None:
                    return piece
                self.wait()
            raise self.hide()
        finally:
            self.exposed = exposed

    def chunk(self, data):
        """Sends a part of a stream, as fast as the client takes it."""
        exposed, self.exposed = self.exposed, False
        try:
            for _ in self.parts(data):
                self.wait()
            if self.over:
                raise self.hide()
        finally:
            self.exposed = exposed

    def step(self, items):
        """The next of what the user's code yields, or DONE."""
        return self.expose(next, items, DONE)

    def expose(self, function, *args):
        """Calls the user's code, which an exception ends if nobody waits anymore."""
        self.exposed = True
        result = function(*args)
        self.exposed = False
        if self.over:
            gone = self.hide()
            if hasattr(result, "close"):
                result.close()
            raise gone
        return result

    def flush(self):
        self.link.flush()

    def reply(self, status, lines, body):
        """Sends a whole reply."""
        if not self.whole(status, lines, body):
            self.begin(status, lines, len(body))
            self.chunk(body)
            self.end()

    def settle(self, awaitable, last=False):
        """Waits for an awaitable in the event loop and returns its result. The last one of
        a call may finish even after the client has left."""
        loop = Loop.get()
        result, error = None, Gone()
        done = threading.Lock()
        done.acquire()

        async def work():
            nonlocal result, error
            try:
                result, error = await awaitable, None
            except BaseException as e:
                error = Gone() if self.over else e

        def start():
            task = loop.create_task(work())
            task.add_done_callback(lambda _: done.release())
            self.cancel = task.cancel
            if self.over and not last:
                loop.call_soon(task.cancel)  # it must have started, or its coroutine is never awaited

        loop.call_soon_threadsafe(start)  # passes on the context, and so the call
        if self.server.table:
            self.server.help()
        done.acquire()
        self.cancel = None
        if error is not None:
            raise error
        return result


class Loop:
    """The event loop of what plain code returns to be awaited, created on first use."""

    lock = threading.Lock()
    loop = None

    @classmethod
    def get(cls):
        with cls.lock:
            if cls.loop is None:
                import asyncio

                cls.loop = asyncio.new_event_loop()
                threading.Thread(target=cls.loop.run_forever, name="loop", daemon=True).start()
            return cls.loop


def interrupt(thread, error):
    """Raises an error in a thread as soon as it runs Python's code; None takes it back."""
    import ctypes

    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), error and ctypes.py_object(error))
