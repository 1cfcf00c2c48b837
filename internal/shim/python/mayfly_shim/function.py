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
    """Imports the user's module, and returns what answers its calls, and the server of such."""
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
    framework = callable(app) and (is_async(app) or hasattr(app, "wsgi_app"))  # its handle may be one of many endpoints
    if callable(handle) and not framework:
        if is_async(handle, 0x280):  # async def, with or without yield
            from .async_handler import Handler
            from .loop import serve
        else:
            from .handler import Handler
            from .server import serve

        return Handler(handle), serve
    if not callable(app):
        raise NameError(f"{file} defines neither handle nor app: write def handle(request)")
    if is_async(app):
        from .asgi import Application
        from .loop import serve
    else:
        from .server import serve
        from .wsgi import Application
    return Application(app), serve


def is_async(function, flags=0x80):
    """Whether it is an async def: an application is ASGI then."""
    while hasattr(function, "func"):  # functools.partial
        function = function.func
    call = function if hasattr(function, "__code__") or hasattr(function, "__func__") else type(function).__call__
    return bool(getattr(getattr(call, "__code__", None), "co_flags", 0) & flags)
