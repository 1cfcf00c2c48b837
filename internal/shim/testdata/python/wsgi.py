"""A WSGI application, checked by the standard library's own validator."""

import sys
from wsgiref.validate import validator


class Body:
    def __init__(self, parts):
        self.parts = iter(parts)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.parts)

    def close(self):
        print("closed")


def plain(environ, start_response):
    path = environ["PATH_INFO"]
    text = [("Content-Type", "text/plain")]
    if path == "/echo":
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        start_response("201 Created", text + [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
        return [body]
    if path == "/environ":
        start_response("200 OK", text)
        names = "REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "CONTENT_TYPE", "SERVER_NAME", "SERVER_PORT", "HTTP_X_A", "REMOTE_ADDR", "wsgi.url_scheme"
        return ["|".join(environ[n] for n in names).encode()]
    if path == "/length":
        start_response("200 OK", text + [("Content-Length", "6")])
        return Body([b"abc", b"def"])
    if path == "/parts":
        start_response("200 OK", text)
        return Body([b"abc", b"", b"def"])
    if path == "/write":
        write = start_response("200 OK", text)
        write(b"written ")
        return [b"and returned"]
    if path == "/nothing":
        start_response("204 No Content", [])
        return []
    if path == "/replaced":
        start_response("200 OK", text)
        try:
            raise ValueError("x")
        except ValueError:
            start_response("500 Oh no", text, sys.exc_info())
        return [b"replaced"]
    if path == "/late":
        start_response("200 OK", text)

        def parts():
            yield b"begun"
            raise RuntimeError("half-way")

        return parts()
    if path == "/long":
        start_response("200 OK", text + [("Content-Length", "1")])
        return [b"long"]
    raise RuntimeError("boom")


checked = validator(plain)


def app(environ, start_response):
    # The validator forbids what the standard allows: a read to the end.
    return (plain if environ["PATH_INFO"] == "/nothing" else checked)(environ, start_response)
