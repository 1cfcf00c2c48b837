"""FastAPI, or any other ASGI application, called app. Mayfly brings the server."""

import asyncio

from fastapi import FastAPI, HTTPException
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

app = FastAPI(title="Tea shop")
prices = {"green": 3.5, "black": 3.0}


class Order(BaseModel):
    tea: str
    cups: int = 1


@app.post("/orders", status_code=201)
async def order(order: Order):
    if order.tea not in prices:
        raise HTTPException(404, f"no {order.tea} tea")
    return {"tea": order.tea, "total": order.cups * prices[order.tea]}


@app.get("/brew")
async def brew():
    async def steps():
        for step in "boil", "pour", "wait":
            yield f"data: {step}\n\n"
            await asyncio.sleep(0.1)

    return StreamingResponse(steps(), media_type="text/event-stream")
