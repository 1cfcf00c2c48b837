"""Serves a Python function over MAYFLY_LINK.

    python3 -c "import mayfly_shim; mayfly_shim.main()" hello.py

hello.py defines handle(request), plain or async, or else a WSGI or ASGI application
called app. Plain code runs in threads; async code in one event loop shared by all calls.

When the client disconnects, the call ends: async code is canceled where it awaits,
plain code gets Gone raised. Code in a long system call, such as time.sleep(60),
notices when that returns.

    link ──► server ──► exchange ──► request ──► handler or wsgi
       └───► loop_server ──► exchange ──► async handler or asgi

It is imported and not run as a file because Python keeps compiled copies only of
imports.
"""

import sys

sys.path.pop(0)  # the user's folder: a socket.py there would hide Python's from us

import os

from .crash import trace
from .function import load
from .output import ERR, OUT


def main():
    sys.stdout, sys.stderr = OUT, ERR
    sys.argv.pop(0)  # the command line's -c
    path = os.environ.get("MAYFLY_LINK")
    if not path:
        sys.exit("this function was built for a newer Mayfly: MAYFLY_LINK is not set")
    try:
        answer, serve = load(sys.argv[0])
        serve(path, answer)
    except Exception as e:
        ERR.write(trace(e))
        os._exit(1)  # even if the module has started threads

    # A user's thread that never ends must not keep us from exiting.
    import atexit

    atexit._run_exitfuncs()
    OUT.finish(None)
    ERR.finish(None)
    os._exit(0)
