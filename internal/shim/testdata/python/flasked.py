"""A Flask application, for TestFlask."""

from flask import Flask, request, url_for

app = Flask(__name__)


@app.get("/<name>")
def hello(name):
    return {"hello": name, "url": url_for("hello", name=name), "q": request.args.get("q")}


@app.post("/form")
def form():
    return f"{request.form['a']} {request.files['f'].read().decode()}"


if __name__ == "__main__":
    app.run()
