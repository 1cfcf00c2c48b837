"""Serves a Python function as HTTP/1.1 on the unix socket MAYFLY_SOCKET.

    python3 -c "import mayfly_shim; mayfly_shim.main()" hello.py

hello.py defines handle(request), plain or async, or else a WSGI application called
app. Every connection has a thread, in which plain code runs; async code runs in one
event loop that all calls share. The only client is Mayfly's engine on this machine,
which keeps few connections and writes correct HTTP: so the reader is small, and
fast.

When the client leaves, the call ends: an async one is cancelled where it awaits, in
plain code Gone is raised. Code that waits in one long call of the system, such as
time.sleep(60), hears of it when that returns.

    server ──► connection ──► request ──► handler, or wsgi ──► reply

It is imported, and not run as a file, because only of what is imported Python keeps
a compiled copy.
"""

import sys

sys.path.pop(0)  # the user's folder, whose socket.py would hide Python's own from us

import os

from .crash import trace
from .function import load
from .output import ERR, OUT
from .server import Server


def main():
    sys.stdout, sys.stderr = OUT, ERR
    sys.argv.pop(0)  # the -c of the command line
    path = os.environ.get("MAYFLY_SOCKET")
    if not path:
        sys.exit("MAYFLY_SOCKET is not set: this file is started by mayfly")
    try:
        answer = load(sys.argv[0])
    except Exception as e:
        ERR.write(trace(e))
        os._exit(1)  # also where the module has started threads
    Server(path, answer).run()

    # A thread of the user's that never ends must not keep us from ending.
    import atexit

    atexit._run_exitfuncs()
    OUT.finish(None)
    ERR.finish(None)
    os._exit(0)
