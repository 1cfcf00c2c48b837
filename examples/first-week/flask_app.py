"""A Flask application, as it is."""

from flask import Flask, request

app = Flask(__name__)


@app.get("/greet")
def greet():
    return f"Moin, {request.args.get('name', 'stranger')}!\n"
