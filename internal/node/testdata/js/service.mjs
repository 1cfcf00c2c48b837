// A micro service as somebody would write it who knows NATS and nothing of Mayfly
// but two keys of metadata. It lives until its standard input ends, so that it
// cannot outlive the test that started it.
//
//   node service.mjs nats://127.0.0.1:4222
import { connect, headers } from "@nats-io/transport-node";
import { ServiceError, Svcm } from "@nats-io/services";

const nc = await connect({ servers: process.argv[2], name: "interop" });
const service = await new Svcm(nc).add({
  name: "JavaScript",
  version: "1.2.3",
  description: "Answers in JavaScript.",
});

// The payload comes back as it came, whatever its bytes.
service.addEndpoint("echo", (err, m) => m.respond(m.data));

// Every header that came stands in the body; two go back.
service.addEndpoint("headers", (err, m) => {
  const came = {};
  for (const [name, values] of m.headers ?? []) came[name] = values;
  const h = headers();
  h.append("X-Answer", "grüß dich");
  h.append("X-Answer", "and again");
  h.append("Content-Type", "application/vnd.headers+json");
  m.respond(JSON.stringify(came), { headers: h });
});

// An error with a body of its own.
service.addEndpoint("fail", (err, m) => {
  m.respondError(422, "not a story", JSON.stringify({ got: m.string() }));
});

// An error that is nothing but its code and text.
service.addEndpoint("throw", () => {
  throw new ServiceError(409, "somebody was faster");
});

service.addEndpoint("top", {
  handler: (err, m) => {
    const n = Number(m.string());
    m.respond(JSON.stringify(Array.from({ length: n }, (_, i) => `story ${i + 1}`)));
  },
  metadata: {
    "mayfly.http": "GET /top/{n}",
    "mayfly.payload": "{n}",
    "mayfly.summary": "The first stories",
    "mayfly.response": JSON.stringify({ type: "array", items: { type: "string" } }),
  },
});

await nc.flush(); // from here on the server knows all of it
console.log("ready");

process.stdin.resume();
process.stdin.on("end", () => service.stop().then(() => nc.close()));
