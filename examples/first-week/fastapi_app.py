"""A FastAPI application, as it is."""

from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class Trip(BaseModel):
    km: float
    hours: float


@app.post("/speed")
async def speed(trip: Trip):
    return {"kmh": trip.km / trip.hours}
