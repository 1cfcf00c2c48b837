"""Reads a Python function without running it, and describes it in fields that end in NUL.

    python3 -I -S -c "$(cat check.py)" hello.py mayfly_shim /home/ada/hello cache

It runs in the folder with copies of the function, its installed packages and the
shim. The other arguments are the shim's package, the folder of the user's own files
and a cache for the compiled shim, or "". It follows imports within the folder, but
not into installed packages. It compiles what it reads into __pycache__, so that no
instance has to: a bundle never changes, so Python trusts these files without
checking the source (PEP 552).

It imports only what Python has loaded anyway: the modules ast, json and py_compile
would take as long as all the rest, at every save.
"""

import _ast as ast
import _frozen_importlib_external as importer
import _imp
import os
import sys


def main(entry, shim, home, cache):
    handler = runs = False
    broken = ""
    read = []
    todo, seen = [entry], set()
    while todo:
        file = todo.pop()
        if file in seen:
            continue
        seen.add(file)
        if file != entry and not os.path.exists(os.path.join(home, file)):
            continue  # part of a package, compiled at installation
        read.append(file)
        try:
            with open(file, "rb") as f:
                source = f.read()
            tree = compile(source, file, "exec", ast.PyCF_ONLY_AST, dont_inherit=True)
            keep(file, source)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as e:
            import traceback

            broken = "".join(traceback.format_exception_only(type(e), e))
            break
        if file == entry:
            defined = names(tree.body) & {"handle", "app"}
            handler = bool(defined) and not listens(tree)
            runs = any(map(acts, tree.body))
        todo += imports(tree, os.path.dirname(file))
    if handler:
        unused = ("async_handler.py", "handler.py") if "app" in defined else ("asgi.py", "wsgi.py")
        for name in os.listdir(shim):
            if name.endswith(".py") and name not in unused:
                reuse(os.path.join(shim, name), cache)
    fields = *sys.version_info[:2], sys.executable or "", "handler" if handler else "", "runs" if runs else "", broken, *read
    sys.stdout.write("".join(f"{field}\0" for field in fields))


def keep(file, source):
    """Compiles a file into __pycache__."""
    code = compile(source, file, "exec", dont_inherit=True)
    to = importer.cache_from_source(file)
    os.makedirs(os.path.dirname(to), exist_ok=True)
    with open(to, "wb") as f:
        f.write(importer._code_to_hash_pyc(code, digest(source), checked=False))


def digest(source):
    return _imp.source_hash(int.from_bytes(importer.MAGIC_NUMBER, "little"), source)


def reuse(file, cache):
    """Stores a compiled file of the shim, also in the cache: it is the same in every
    build, and compiling the shim takes longer than everything else."""
    with open(file, "rb") as f:
        source = f.read()
    if not cache:
        return keep(file, source)
    compiled = importer.cache_from_source(file)
    version = digest(source).hex()
    kept = os.path.join(cache, f"{version}-{os.path.basename(compiled)}")
    try:
        copy(kept, compiled)
    except FileNotFoundError:
        keep(file, source)
        own = f"{kept}.{os.getpid()}"
        copy(compiled, own)
        with open(own, "rb") as f:
            os.fsync(f)  # or a power loss leaves an empty file
        os.replace(own, kept)  # other builds may run at the same time


def copy(file, to):
    os.makedirs(os.path.dirname(to), exist_ok=True)
    with open(file, "rb") as f, open(to, "wb") as t:
        t.write(f.read())


def walk(tree):
    """All nodes of a tree."""
    todo = [tree]
    while todo:
        node = todo.pop()
        yield node
        for name in node._fields:
            below = getattr(node, name, None)
            todo += [n for n in (below if isinstance(below, list) else (below,)) if isinstance(n, ast.AST)]


def names(body):
    """The names that a module's statements define, also within an if or try."""
    found = set()
    for s in body:
        if isinstance(s, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(s.name)
        elif isinstance(s, (ast.Import, ast.ImportFrom)):
            found.update(a.asname or a.name for a in s.names)
        elif isinstance(s, (ast.Assign, ast.AnnAssign)):
            targets = s.targets if isinstance(s, ast.Assign) else [s.target]
            found.update(n.id for t in targets for n in walk(t) if isinstance(n, ast.Name))
        elif isinstance(s, (ast.If, ast.Try, ast.With)) and not guards(s):
            for part in "body", "orelse", "finalbody":
                found |= names(getattr(s, part, ()))
            for h in getattr(s, "handlers", ()):
                found |= names(h.body)
    return found


def guards(s):
    """Whether a statement is if __name__ == "__main__"."""
    return isinstance(s, ast.If) and any(isinstance(n, ast.Name) and n.id == "__name__" for n in walk(s.test))


def listens(tree):
    """Whether a module that is run listens where Mayfly wants it to."""
    return any(map(guards, tree.body)) and any(
        isinstance(n, ast.Constant) and n.value in ("PORT", "MAYFLY_SOCKET") for n in walk(tree)
    )


def acts(s):
    """Whether a statement does more than define something."""
    if isinstance(s, ast.Expr):
        return not isinstance(s.value, ast.Constant)
    return isinstance(s, (ast.If, ast.Try, ast.With, ast.For, ast.While, ast.AsyncFor, ast.AsyncWith))


def imports(tree, folder):
    """The files of the modules in this folder that a module imports."""
    for node in walk(tree):
        if isinstance(node, ast.Import):
            for a in node.names:
                yield from files("", a.name)
        elif isinstance(node, ast.ImportFrom):
            base = ""
            if node.level:
                base = folder
                for _ in range(node.level - 1):
                    base = os.path.dirname(base)
            yield from files(base, node.module or "")
            for a in node.names:
                yield from files(base, f"{node.module}.{a.name}" if node.module else a.name)


def files(base, name):
    """The files that importing a dotted name reads, including parent packages'."""
    path = base
    for part in name.split(".") if name else ():
        path = os.path.join(path, part)
        for file in path + ".py", os.path.join(path, "__init__.py"):
            if os.path.isfile(file):
                yield file


main(*sys.argv[1:])
