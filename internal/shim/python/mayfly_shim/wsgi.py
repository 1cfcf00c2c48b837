"""Calls a WSGI application."""

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
        path = request.target.partition("?")[0]
        get = request.headers.get
        host, _, port = get("Host", "localhost").rpartition(":")
        if not port.isdigit():
            host, port = get("Host", "localhost"), "80"
        environ = {
            "HTTP_" + name.upper().replace("-", "_"): value
            for name, value in request.headers.items()
            if "_" not in name  # it could impersonate another header
        }
        environ.update(
            {
                "REQUEST_METHOD": request.method,
                "SCRIPT_NAME": get("X-Forwarded-Prefix", "").rstrip("/"),
                "PATH_INFO": unquote(path).decode("latin-1") if "%" in path else path,
                "QUERY_STRING": request.query_string,
                "CONTENT_TYPE": environ.pop("HTTP_CONTENT_TYPE", ""),
                "CONTENT_LENGTH": environ.pop("HTTP_CONTENT_LENGTH", ""),
                "REMOTE_ADDR": get("Mayfly-Remote", "").rpartition(":")[0].strip("[]"),
                "SERVER_NAME": host,
                "SERVER_PORT": port,
                "SERVER_PROTOCOL": "HTTP/1.1",
                "wsgi.version": (1, 0),
                "wsgi.url_scheme": get("X-Forwarded-Proto", "http"),
                "wsgi.input": request.stream,
                "wsgi.input_terminated": True,
                "wsgi.errors": sys.stderr,
                "wsgi.multithread": True,
                "wsgi.multiprocess": True,
                "wsgi.run_once": False,
            }
        )
        return environ
