"""Serves a Python function as HTTP/1.1 on the unix socket MAYFLY_SOCKET.

    python3 -c "import mayfly_shim; mayfly_shim.main()" hello.py

hello.py defines handle(request), plain or async, or else a WSGI or ASGI application
called app. Plain code runs in its connection's thread; async code in one event loop shared
by all calls. The only client is Mayfly's engine on this machine, which keeps few
connections and writes correct HTTP: so the reader is small and fast.

When the client disconnects, the call ends: async code is canceled where it awaits,
plain code gets Gone raised. Code in a long system call, such as time.sleep(60),
notices when that returns.

    server ──► connection ──► request ──► handler, wsgi or asgi ──► reply

An ASGI application is served by uvicorn instead if the project has it.

It is imported and not run as a file because Python keeps compiled copies only of
imports.
"""

import sys

sys.path.pop(0)  # the user's folder: a socket.py there would hide Python's from us

import os

from .crash import trace
from .function import load
from .output import ERR, OUT
from .server import Server


def main():
    sys.stdout, sys.stderr = OUT, ERR
    sys.argv.pop(0)  # the command line's -c
    path = os.environ.get("MAYFLY_SOCKET")
    if not path:
        sys.exit("MAYFLY_SOCKET is not set: this file is started by mayfly")
    try:
        answer = load(sys.argv[0])
    except Exception as e:
        ERR.write(trace(e))
        os._exit(1)  # even if the module has started threads
    serve(path, answer)

    # A user's thread that never ends must not keep us from exiting.
    import atexit

    atexit._run_exitfuncs()
    OUT.finish(None)
    ERR.finish(None)
    os._exit(0)


def serve(path, answer):
    """Serves until a signal."""
    if hasattr(answer, "serve"):
        if not answer.serve(path):
            os._exit(1)  # it has said why
        return
    deadline = Server(path, answer).run()
    if hasattr(answer, "close"):
        answer.close(deadline)
