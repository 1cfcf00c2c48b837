"""Calls a WSGI application."""

import functools
import sys

from .exchange import DONE
from .reply import header_lines
from .request import unquote


class Application:
    """Answers with a WSGI application (PEP 3333)."""

    def __init__(self, app):
        self.app = app

    def __call__(self, call):
        given = []  # status, lines and length, from start_response

        def write(data):
            if not given:
                raise AssertionError("write before start_response")
            if not call.begun:
                status, lines, length = given
                if length == len(data) and call.whole(status, lines, data):
                    call.left = 0  # nothing may follow
                    return
                call.begin(*given)
            call.chunk(data)

        def start_response(status, headers, exc_info=None):
            if exc_info and call.begun:
                raise exc_info[1].with_traceback(exc_info[2])
            if given and not exc_info:
                raise AssertionError("start_response was called twice")
            length = [int(value) for name, value in headers if name.lower() == "content-length"]
            given[:] = int(status.partition(" ")[0]), header_lines(headers)[0], length[0] if length else None
            return write

        body = call.expose(self.app, self.environ(call.request), start_response)
        try:
            if isinstance(body, (list, tuple)) and len(body) == 1 and given and not call.begun and given[2] in (None, len(body[0])):
                return call.reply(given[0], given[1], body[0])
            items = iter(body)
            while (data := call.step(items)) is not DONE:
                if data:
                    write(data)
            if not given:
                raise AssertionError("the application did not call start_response")
            write(b"")
            call.end()
        finally:
            if hasattr(body, "close"):
                body.close()

    def environ(self, request):
        first, *fields = request._head.decode("latin-1").split("\n")
        method, _, target = first.partition(" ")
        path, _, query = target.partition("?")
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": unquote(path).decode("latin-1") if "%" in path else path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": "",
            "CONTENT_LENGTH": "",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.version": (1, 0),
            "wsgi.input": request.stream,
            "wsgi.input_terminated": True,
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }
        for field in fields:
            name, _, value = field.partition(":")
            name = variable(name)
            if name.startswith("HTTP_") and name in environ:
                value = environ[name] + ("; " if name == "HTTP_COOKIE" else ", ") + value
            environ[name] = value
        environ.pop("", None)  # of headers that have no variable
        get = environ.get
        host, _, port = get("HTTP_HOST", "localhost").rpartition(":")
        if not port.isdigit():
            host, port = get("HTTP_HOST", "localhost"), "80"
        environ["SERVER_NAME"], environ["SERVER_PORT"] = host, port
        environ["SCRIPT_NAME"] = get("HTTP_X_FORWARDED_PREFIX", "").rstrip("/")
        environ["REMOTE_ADDR"] = get(variable("Mayfly-Remote"), "").rpartition(":")[0].strip("[]")
        environ["wsgi.url_scheme"] = get("HTTP_X_FORWARDED_PROTO", "http")
        return environ


@functools.lru_cache(1000)
def variable(header):
    """The name of a header's variable, or nothing: one with an underscore could impersonate
    another header."""
    if "_" in header:
        return ""
    name = header.upper().replace("-", "_")
    return name if name in ("CONTENT_TYPE", "CONTENT_LENGTH", "") else "HTTP_" + name
