"""Flask, or any other WSGI application, called app."""

from flask import Flask, redirect, request, url_for

app = Flask(__name__)
guests = []


@app.get("/")
def list_guests():
    return {"guests": guests}


@app.post("/")
def add_guest():
    guests.append(request.form["name"])
    return redirect(url_for("list_guests"), 303)


if __name__ == "__main__":
    app.run()  # without Mayfly
