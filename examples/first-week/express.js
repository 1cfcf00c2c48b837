// An Express app: exported, it needs no port. It answers preflights itself, with Express' own middleware.
import cors from "cors";
import express from "express";

const app = express();
app.use(cors({ origin: process.env.PAGE, credentials: true }), express.json());

app.post("/orders", ({ body }, response) => {
  if (!body.item) return response.status(422).json({ error: "no item" });
  response.status(201).json({ item: body.item, cups: body.cups ?? 1 });
});

export default app;
