// A Fastify app, exported before it listens. Its schema checks the body.
import Fastify from "fastify";

const app = Fastify();
const number = { type: "number" };
const body = { type: "object", required: ["a", "b"], properties: { a: number, b: number } };

app.post("/add", { schema: { body } }, async ({ body: { a, b } }) => ({ sum: a + b }));

export default app;
