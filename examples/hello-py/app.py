"""A function is called handle. It returns the response: text, bytes,
a dict or a list (sent as JSON), or (body, status, headers)."""


def handle(request):
    name = request.query.get("name", "world")
    if not name:
        return {"error": "the name is empty"}, 400
    return {"hello": name, "from": "Python"}
