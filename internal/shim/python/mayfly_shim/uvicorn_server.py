"""Serves an ASGI application by uvicorn, where the project has it."""

import asyncio
import signal

import uvicorn

from .asgi import describe
from .crash import CRASH, report
from .output import CALL, ERR, OUT
from .server import PATIENCE


class Application:
    """An ASGI application, and the server that calls it."""

    def __init__(self, app):
        self.app = app

    def serve(self, path):
        config = uvicorn.Config(
            self.answer,
            uds=path,
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=24 * 60 * 60,  # Mayfly closes its connections itself
        )
        self.server = server = Server(config)
        for number in signal.SIGTERM, signal.SIGINT:
            signal.signal(number, lambda *_: None)  # uvicorn raises again what it was stopped by
        server.run()
        return server.started

    async def answer(self, scope, receive, send):
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        call = Call(scope)
        CALL.set(call)
        begun = False

        async def watch(message):
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(describe(scope), receive, watch)
        except asyncio.CancelledError:
            if not self.server.should_exit:
                raise  # uvicorn, too, would show the trace; now it cuts the response
        except Exception as e:
            if scope["type"] != "http":
                raise
            text, line = report(e)
            ERR.write(text)
            if begun:
                return  # uvicorn cuts a response that is not complete
            headers = [(b"content-type", b"text/plain; charset=utf-8"), (CRASH.encode(), line)]
            await send({"type": "http.response.start", "status": 502, "headers": headers})
            await send({"type": "http.response.body", "body": text.encode("utf-8", "replace")})
        finally:
            OUT.finish(call)
            ERR.finish(call)


class Server(uvicorn.Server):
    """One that cancels the calls that do not finish after SIGTERM. Older versions of uvicorn
    have no timeout_graceful_shutdown."""

    async def shutdown(self, sockets=None):
        timer = asyncio.get_running_loop().call_later(PATIENCE, self.cancel)
        try:
            await super().shutdown(sockets)
        finally:
            timer.cancel()

    def cancel(self):
        for task in self.server_state.tasks:
            task.cancel()


class Call:
    """The call that a line of the log belongs to."""

    def __init__(self, scope):
        self.call = dict(scope["headers"]).get(b"mayfly-call", b"").decode("latin-1")
