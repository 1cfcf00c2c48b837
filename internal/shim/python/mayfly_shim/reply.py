"""The headers of a reply."""

TOKEN = str.maketrans("", "", "!#$%&'*+-.^_`|~")  # allowed in names besides letters and digits
BREAKS = str.maketrans("", "", "\r\n\0")
FRAMING = ("content-length", "transfer-encoding", "connection", "keep-alive")


def header_lines(headers):
    """The header as bytes, and the names in it. The shim decides the framing, so the
    user's framing headers are dropped, and so are values of None."""
    text, names = "", set()
    for name, value in headers.items() if hasattr(headers, "items") else headers:
        if not isinstance(name, str) or not name.isascii() or not name.translate(TOKEN).isalnum():
            raise ValueError(f"{name!r} is not a header name")
        if name.lower() in FRAMING:
            continue
        names.add(name.lower())
        for one in value if isinstance(value, (list, tuple)) else (value,):
            if one is None:
                continue
            one = str(one)
            if one.translate(BREAKS) != one:
                raise ValueError(f"the header {name} contains a line break or NUL: {one!r}")
            text += f"{name}:{one}\n"
    try:
        return text.encode("latin-1"), names
    except UnicodeEncodeError:
        raise ValueError(f"headers can hold Latin-1 text only: {text!r}") from None
