"""How errors in the user's code are reported."""

import os

from .output import ERR

CRASH = "Mayfly-Crash"  # header of a 502: the user's code failed
SHIM = os.path.dirname(os.path.abspath(__file__))
FOLDER = os.path.dirname(SHIM)


def crash(reply, error):
    """Tells the log and the client that the user's code failed. A stream that has
    begun is cut, so that the client sees a failure."""
    text, line = report(error)
    ERR.write(text)
    if not reply.begun:
        lines = b"Content-Type: text/plain; charset=utf-8\r\n%b: %b\r\n" % (CRASH.encode(), line)
        reply.whole(502, lines, text.encode("utf-8", "replace"))


def report(error):
    """The trace of an error, and the line that names it in a header."""
    line = "".join(c if c.isprintable() else " " for c in f"{type(error).__name__}: {error}"[:500])
    return trace(error), line.encode("utf-8", "replace")


def trace(error):
    """The traceback without our own frames, and with short file names."""
    import traceback

    whole = part = traceback.TracebackException.from_exception(error)
    while part is not None:
        part.stack[:] = [f for f in part.stack if not f.filename.startswith((SHIM + os.sep, "<frozen importlib"))]
        for place in (*part.stack, part):  # a SyntaxError itself names a file
            file = getattr(place, "filename", None)
            if file and file.startswith(FOLDER + os.sep):
                place.filename = file[len(FOLDER) + 1 :]
        part = part.__cause__ or part.__context__
    return "".join(whole.format())
