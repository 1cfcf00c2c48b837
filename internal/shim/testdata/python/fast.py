"""A FastAPI application, for TestFastAPI."""

import asyncio

from fastapi import BackgroundTasks, FastAPI, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

app = FastAPI()
ready = []


class Item(BaseModel):
    name: str
    price: float


@app.on_event("startup")
async def begin():
    ready.append("started")
    print("started")


@app.on_event("shutdown")
async def end():
    print("shut down")


@app.get("/")
def root(request: Request):  # not async: it runs in a thread
    print("in a thread")
    return {"hello": "world", "ready": ready, "url": str(request.url), "client": request.client.host}


@app.post("/items/{number}", status_code=201)
async def create(number: int, item: Item, tasks: BackgroundTasks):
    tasks.add_task(print, "item", number, "is stored")
    return {"number": number, "name": item.name, "total": item.price * 2}


@app.post("/upload")
async def upload(request: Request):
    total = 0
    async for piece in request.stream():
        total += len(piece)
    return {"bytes": total}


@app.get("/events")
async def events():
    async def all():
        try:
            yield "data: 0\n\n"
            await asyncio.Event().wait()
        finally:
            print("events ended")

    return StreamingResponse(all(), media_type="text/event-stream")


@app.get("/boom")
def boom():
    raise RuntimeError("boom")


def inner(request):
    return PlainTextResponse(str(request.url_for("inner")))


app.mount("/sub", Starlette(routes=[Route("/inner", inner, name="inner")]))


@app.middleware("http")
async def mark(request, call_next):
    response = await call_next(request)
    response.headers["X-Marked"] = "yes"
    return response
