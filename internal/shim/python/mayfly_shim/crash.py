"""How errors in the user's code are reported."""

import os

SHIM = os.path.dirname(os.path.abspath(__file__))
FOLDER = os.path.dirname(SHIM)


def report(error):
    """The trace of an error, and the line that names it."""
    try:
        said = str(error)
    except Exception:  # its __str__ fails, too
        said = "<exception str() failed>"
    line = "".join(c if c.isprintable() else " " for c in f"{type(error).__name__}: {said}"[:500])
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
