"""The user's file, and its handler."""

import os
import sys

from .crash import FOLDER

PACKAGE = "mayfly_function"  # the name of a folder with an __init__.py


def package(name):
    """The module's name, within a package if its folder is one, so that
    from .other import thing works."""
    import importlib.util

    init = os.path.join(FOLDER, "__init__.py")
    if not os.path.isfile(init):
        return name
    spec = importlib.util.spec_from_file_location(PACKAGE, init, submodule_search_locations=[FOLDER])
    module = sys.modules[PACKAGE] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return f"{PACKAGE}.{name}"


def load(file):
    """Imports the user's module and returns its handler."""
    import importlib.util

    name = os.path.splitext(file)[0].replace(".", "_")
    if name in sys.modules or importlib.util.find_spec(name):
        sys.path.append(FOLDER)  # last, so that a user's email.py does not hide Python's from other modules
        name = "function_" + name
    else:
        sys.path.insert(0, FOLDER)
    name = package(name)
    spec = importlib.util.spec_from_file_location(name, os.path.join(FOLDER, file))
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    handle, app = getattr(module, "handle", None), getattr(module, "app", None)
    framework = callable(app) and (is_asgi(app) or hasattr(app, "wsgi_app"))  # its handle may be one of many endpoints
    if callable(handle) and not framework:
        from .handler import Handler

        return Handler(handle)
    if not callable(app):
        raise NameError(f"{file} defines neither handle nor app: write def handle(request)")
    if not is_asgi(app):
        from .wsgi import Application

        return Application(app)
    try:
        from .uvicorn_server import Application
    except ImportError:
        from .asgi import Application
    return Application(app)


def is_asgi(app):
    """Whether an application is called with scope, receive and send."""
    while hasattr(app, "func"):  # functools.partial
        app = app.func
    call = app if hasattr(app, "__code__") or hasattr(app, "__func__") else type(app).__call__
    return bool(getattr(getattr(call, "__code__", None), "co_flags", 0) & 0x80)  # async def
