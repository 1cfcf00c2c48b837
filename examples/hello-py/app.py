"""A function is what is called handle. What it returns is the answer: text, bytes,
a dict or a list as JSON, or (body, status, headers)."""


def handle(request):
    name = request.query.get("name", "world")
    if not name:
        return {"error": "the name is empty"}, 400
    return {"hello": name, "from": "Python"}
