// The function of TestJavaScriptAnswers and its neighbours: each path is a case.
import { setTimeout as wait } from "node:timers/promises";

const bytes = new TextEncoder().encode("bytes");

const cases = {
  // What a handler may return.
  text: () => "hello",
  empty: () => "",
  object: () => ({ a: 1 }),
  list: () => [1, 2],
  number: () => 42,
  yes: () => true,
  nothing: () => {},
  null: () => null,
  bytes: () => bytes,
  buffer: () => Buffer.from("buffer"),
  arrayBuffer: () => bytes.buffer,
  blob: () => new Blob(["blob"], { type: "text/x-blob" }),
  params: () => new URLSearchParams({ a: "b c" }),
  promise: async () => "later",
  thenable: () => ({ then: (resolve) => resolve("thenable") }),
  response: () => new Response("created", { status: 201, headers: { "X-A": "1" } }),
  responseBytes: () => new Response(bytes),
  responseEmpty: () => new Response(null, { status: 202 }),
  responseJSON: () => Response.json({ b: 2 }, { status: 203 }),
  responseStream: () => new Response(streamOf(["one ", "two"]), { headers: { "content-type": "text/x-stream" } }),
  responseForm: () => new Response(new URLSearchParams({ c: "d" })),
  redirect: () => Response.redirect("http://example.com/there", 307),
  notFound: () => new Response("no such thing", { status: 404 }),
  cookies: () => {
    const response = new Response("cookies");
    response.headers.append("set-cookie", "a=1");
    response.headers.append("set-cookie", "b=2");
    return response;
  },
  latin: () => new Response("\u2713", { headers: { "x-latin": "caf\u00e9" } }),
  hop: () => new Response("hop", { headers: { connection: "close", "transfer-encoding": "gzip", "content-length": "999", trailer: "x-end" } }),
  stream: () => streamOf([bytes, " and text"]),
  *generator() {
    yield "a";
    yield "b";
  },
  async *asyncGenerator() {
    yield bytes;
    await wait(1);
    yield new Uint8Array([33]).buffer;
  },
  async *noChunks() {},
  fetched: async (request) => fetch(await request.text()),
  unicode: () => "h\u00e9llo \u2713",
  large: () => "x".repeat(3_000_000),

  // What a handler sees.
  echo: async (request) =>
    Response.json({
      method: request.method,
      url: request.url,
      body: await request.text(),
      used: request.bodyUsed,
      call: request.call,
      id: request.params.Id,
      a: request.headers.get("x-a"),
      cookie: request.headers.get("Cookie"),
    }),
  json: async (request) => ({ got: await request.json() }),
  async upload(request) {
    let length = 0;
    for await (const chunk of request.body) length += chunk.length;
    return String(length);
  },
  unread: () => "not read",
  async form(request) {
    const form = await request.formData();
    return `${form.get("a")} ${await form.get("f").text()}`;
  },
  async proxied(request) {
    return new Response(request.body, { headers: { "x-was": request.headers.get("content-type") ?? "" } });
  },
  context: (_, context) => ({
    call: context.call,
    deadline: context.deadline,
    secret: context.env.SECRET,
    hidden: Object.keys(context.env).filter((name) => ["PATH", "HOME", "MAYFLY_SOCKET"].includes(name)),
    aborted: context.signal.aborted,
  }),
  instance: async (request) => [
    request instanceof Request,
    new Response() instanceof Response,
    (await fetch("data:text/plain,x")) instanceof Response,
    request.headers instanceof Headers,
    (await fetch("data:text/plain,x")).headers instanceof Headers,
    new Request("http://x/") instanceof Request,
    new (class Mine extends Response {})() instanceof Response,
    {} instanceof Response,
    request instanceof Response,
    Object.prototype.toString.call(request),
    request.constructor === Request,
  ],

  // What goes wrong.
  throws() {
    throw new TypeError("it is \u2713 broken\nin two lines");
  },
  async rejects() {
    await wait(1);
    throw new Error("rejected", { cause: new Error("the cause") });
  },
  throwsText() {
    throw "only text";
  },
  *throwsFirst() {
    throw new Error("before the first chunk");
  },
  async *throwsLater() {
    yield "the first chunk";
    await wait(50); // so it is sent
    throw new Error("after the first chunk");
  },
  *throwsSecond() {
    yield "the first chunk";
    throw new Error("for the second chunk");
  },
  async *throwsSecondAsync() {
    yield "the first chunk";
    throw new Error("for the second chunk");
  },
  streamThrows: () =>
    new Response(
      new ReadableStream({
        pull() {
          throw new Error("of a stream");
        },
      }),
    ),
  length: () => new Response(null, { headers: { "content-length": "42" } }),
  badChunk: () => streamOf([{ an: "object" }]),
  badStatus: () => new Response("", { status: 99 }),
  badHeader: () => new Response("", { headers: { "x-bad": "a\r\nb: c" } }),
  badName: () => new Response("", { headers: { "x bad": "a" } }),
  badJSON: () => {
    const circle = {};
    circle.circle = circle;
    return circle;
  },
  badKind: () => () => "a function",
  badLength: () => new Response(streamOf(["four"]), { headers: { "content-length": "3" } }),
  networkError: () => Response.error(),
  twice: async (request) => (await request.text()) + (await request.text()),

  // What it writes.
  async logs(request) {
    console.log("one");
    await wait(1);
    console.log("two\nthree");
    process.stdout.write("half ");
    process.stdout.write("a line\n");
    console.error("four");
    return request.call;
  },
  async meet(request) {
    const name = request.headers.get("x-name");
    met.set(name, request.call);
    console.log(name, "came");
    while (met.size < 2) await wait(1);
    process.stdout.write(name + " has ");
    await wait(1);
    console.log("left");
    return "met";
  },
  forget: () => {
    Promise.reject(new Error("nobody waits for this"));
    return "fine";
  },
};

const met = new Map();

function streamOf(chunks) {
  return new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(chunk);
      controller.close();
    },
  });
}

export default function (request, context) {
  const { pathname } = new URL(request.url);
  const name = pathname.slice(1).split("/")[0];
  if (!Object.hasOwn(cases, name)) return new Response(`no case ${name}`, { status: 404 });
  return cases[name](request, context);
}
