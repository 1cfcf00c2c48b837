// node:http's forms, which are served over HTTP on Mayfly's socket. The module is loaded
// only for them: it would make every other function start later.

import { runAs } from "./output.mjs";
import { isRefused, jsonOf } from "./request.mjs";
import { headlineOf, traceOf } from "./trace.mjs";

const current = Symbol("exchange"); // of a connection

// serve passes the requests on a socket to a listener. It returns a function that waits
// for the calls in flight, and takes no more.
export function serve(path, listener) {
  // The only client is trusted; it keeps its own connections and timeouts.
  const server = require("node:http").createServer({
    keepAliveTimeout: 0,
    headersTimeout: 0,
    requestTimeout: 0,
    maxHeaderSize: 64 * 1024,
  });
  server.maxHeadersCount = 0;
  server.on("connection", (socket) => socket.on("close", () => socket[current]?.leave()));
  server.on("request", (incoming, outgoing) => {
    const exchange = new Exchange(incoming, outgoing);
    incoming.socket[current] = exchange;
    runAs(exchange, () => exchange.pass(listener));
  });
  server.on("clientError", reject);
  server.listen(path);
  return async () => {
    const closed = new Promise((resolve) => server.close(resolve));
    const idle = setInterval(() => server.closeIdleConnections(), 20);
    await closed;
    clearInterval(idle);
  };
}

// reject answers a request that Node's parser rejects, which knows a fixed list of
// methods. Nothing else can be wrong with a request of Mayfly's.
function reject(error, socket) {
  if (!socket.writable) return;
  const known = error.code !== "HPE_INVALID_METHOD";
  const [status, title] = known ? [400, "Bad Request"] : [501, "Not Implemented"];
  const detail = known ? error.message : "Node.js does not support this method";
  const body = JSON.stringify({ title, status, detail });
  const head = `HTTP/1.1 ${status} ${title}\r\nContent-Type: application/problem+json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n`;
  socket.end(head + body);
}

// An Exchange is a call over HTTP.
class Exchange {
  #incoming;
  #outgoing;
  #left = false; // the client disconnected before it had its reply

  constructor(incoming, outgoing) {
    this.#incoming = incoming;
    this.#outgoing = outgoing;
  }

  get id() {
    return this.#incoming.headers["mayfly-call"] ?? "";
  }

  // pass passes the call to a listener, which replies itself.
  async pass(listener) {
    try {
      await listener(this.#incoming, this.#outgoing);
    } catch (error) {
      this.crash(error);
    }
  }

  // leave is called when the connection closes.
  leave() {
    this.#left = !this.#outgoing.writableFinished;
  }

  // crash replies that the function's code failed. Once the head has been sent, only
  // breaking the connection can say so.
  crash(error) {
    if (this.#left && error?.name === "AbortError") return; // it stopped because it was canceled
    const begun = this.#outgoing.headersSent;
    if (isRefused(error) && !begun) return this.#end(400, `the request's body is not JSON: ${error.message}\n`);
    const trace = traceOf(error);
    process.stderr.write(trace + "\n");
    if (this.#left || this.#outgoing.writableEnded) return;
    if (begun) this.#outgoing.destroy();
    else this.#end(502, trace, { "mayfly-crash": Buffer.from(headlineOf(error)).toString("latin1") }); // node:http writes one byte per character
  }

  #end(status, text, headers) {
    const body = Buffer.from(text); // node:http writes head and text in one piece, as UTF-8
    this.#outgoing.writeHead(status, { "content-type": "text/plain;charset=UTF-8", "content-length": body.length, ...headers });
    this.#outgoing.end(body);
  }
}

// helped gives a request what Vercel's and Google's functions add to it.
export function helped(incoming) {
  const query = () => {
    const all = {};
    for (const [name, value] of new URL(incoming.url, "http://localhost").searchParams) {
      all[name] = name in all ? [all[name], value].flat() : value;
    }
    return all;
  };
  const cookies = () => Object.fromEntries((incoming.headers.cookie ?? "").split(/;\s*/).filter(Boolean).map((pair) => pair.split(/=(.*)/s, 2)));
  return lazy(lazy(incoming, "query", query), "cookies", cookies);
}

// helpful gives a response what Vercel's and Google's functions add to it.
export function helpful(outgoing) {
  return Object.assign(outgoing, {
    status(code) {
      outgoing.statusCode = code;
      return outgoing;
    },
    json(value) {
      if (!outgoing.hasHeader("content-type")) outgoing.setHeader("content-type", "application/json");
      outgoing.end(JSON.stringify(value));
      return outgoing;
    },
    send(value) {
      if (typeof value === "object" && value !== null && !ArrayBuffer.isView(value)) return outgoing.json(value);
      outgoing.end(typeof value === "number" ? String(value) : value);
      return outgoing;
    },
    redirect(...to) {
      outgoing.writeHead(to.length > 1 ? to[0] : 307, { location: to.at(-1) }).end();
      return outgoing;
    },
  });
}

function lazy(object, name, make) {
  return Object.defineProperty(object, name, {
    configurable: true,
    get: () => Object.defineProperty(object, name, { value: make(), writable: true })[name],
    set: (value) => Object.defineProperty(object, name, { value, writable: true }),
  });
}

// bodyOf reads a body and parses it as its type says.
export async function bodyOf(incoming) {
  const chunks = [];
  for await (const chunk of incoming) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  const type = incoming.headers["content-type"] ?? "";
  if (bytes.length === 0) return undefined;
  if (/^application\/([\w.-]+\+)?json\b/.test(type)) return jsonOf(bytes);
  if (/^application\/x-www-form-urlencoded\b/.test(type)) return Object.fromEntries(new URLSearchParams(bytes.toString()));
  return /^text\//.test(type) ? bytes.toString() : bytes;
}

