// A call: one request of node:http, the handler's result, and the reply made from it.

import { Headers } from "./headers.mjs";
import { Request, isRefused } from "./request.mjs";
import { Response, bytesOf, isBytes, isComplex } from "./response.mjs";
import { isStandard } from "./standard.mjs";
import { traceOf, headlineOf } from "./trace.mjs";

// Headers that belong to the connection are dropped from replies. node:http rejects
// a trailer beside a length.
const connection = ["connection", "keep-alive", "proxy-connection", "trailer", "transfer-encoding", "upgrade"];

const beyondASCII = /[^\0-\x7f]/;

const late = new Set(); // unsettled promises passed to waitUntil

// settled waits for everything passed to waitUntil.
export async function settled() {
  while (late.size > 0) await Promise.all(late);
}

export class Call {
  incoming;
  id;
  left = false; // the client disconnected before it had its reply
  #outgoing;
  #over = false;
  #source = null; // of a streamed reply
  #wake = null; // ends a wait for the client to read
  #controller = null;

  constructor(incoming, outgoing) {
    this.incoming = incoming;
    this.id = incoming.headers["mayfly-call"] ?? "";
    this.#outgoing = outgoing;
  }

  // answer passes the call to a handler and sends the result. It never throws.
  answer(handler, env) {
    try {
      const result = handler(Request.of(this), new Context(this, env));
      const sent = typeof result?.then === "function" ? result.then((value) => this.#reply(value)) : this.#reply(result);
      sent?.then(undefined, (error) => this.crash(error));
    } catch (error) {
      this.crash(error);
    }
  }

  // pass passes the call to a handler of node:http's form, which replies itself.
  async pass(handler) {
    try {
      await handler(this.incoming, this.#outgoing);
    } catch (error) {
      this.crash(error);
    }
  }

  // leave is called when the connection closes.
  leave() {
    if (this.#over) return;
    this.left = true;
    this.#controller?.abort(gone());
    this.#cancel();
    this.#wake?.();
  }

  // crash replies that the function's code failed. Once the head has been sent, only
  // breaking the connection can say so.
  crash(error) {
    if (this.left && error?.name === "AbortError") return; // it stopped because it was canceled
    if (isRefused(error) && !this.#over && !this.#outgoing.headersSent) {
      this.#finish(400, "", ["content-type", "text/plain;charset=UTF-8"], `the request's body is not JSON: ${error.message}\n`);
      return;
    }
    const trace = traceOf(error);
    process.stderr.write(trace + "\n");
    if (this.left || this.#over || this.#outgoing.writableEnded) return;
    this.#over = true;
    if (this.#outgoing.headersSent) {
      this.#outgoing.destroy();
      return;
    }
    this.#end(502, "", ["mayfly-crash", headlineOf(error), "content-type", "text/plain;charset=UTF-8"], trace);
  }

  get signal() {
    if (this.#controller === null) {
      this.#controller = new AbortController();
      if (this.left) this.#controller.abort(gone());
    }
    return this.#controller.signal;
  }

  // waitUntil keeps the process alive for work that continues after the reply.
  waitUntil(promise) {
    const work = Promise.resolve(promise)
      .catch((error) => process.stderr.write(traceOf(error) + "\n"))
      .finally(() => late.delete(work));
    late.add(work);
  }

  // reply sends the handler's result. For a stream it returns a promise that settles
  // when the stream ends.
  #reply(value) {
    if (typeof value === "string") {
      this.#finish(200, "", ["content-type", "text/plain;charset=UTF-8"], value);
    } else if (value === null || value === undefined) {
      this.#finish(204, "", [], "");
    } else if (typeof value !== "object") {
      this.#finish(200, "", ["content-type", "application/json"], json(value));
    } else {
      return this.#replyObject(value);
    }
  }

  #replyObject(value) {
    const parts = Response.parts(value);
    if (parts !== null) {
      if (parts.status === 0) throw new TypeError("the handler returned Response.error()");
      if (parts.stream !== null) return this.#stream(parts.status, parts.statusText, parts.headers, ofStream(parts.stream));
      this.#finish(parts.status, parts.statusText, parts.headers, parts.body ?? "");
    } else if (isStandard("Response", value)) {
      const { status, statusText, body } = value;
      const headers = Headers.flat(new Headers(fetched(value)));
      if (body !== null) return this.#stream(status, statusText, headers, ofStream(body));
      this.#finish(status, statusText, headers, "");
    } else if (isBytes(value)) {
      this.#finish(200, "", ["content-type", "application/octet-stream"], bytesOf(value));
    } else if (isIterator(value)) {
      return this.#streamChunks(ofIterator(value));
    } else if (isComplex(value) || value[Symbol.toStringTag] === "Response") {
      return this.#replyObject(new Response(value.body ?? value, value.body && value));
    } else {
      this.#finish(200, "", ["content-type", "application/json"], json(value));
    }
  }

  // finish sends a whole reply. Only then is the call over: if node:http refuses to
  // send it, that is a crash.
  #finish(status, statusText, headers, body) {
    if (this.left) return;
    this.#end(status, statusText, headers, body);
    this.#over = true;
  }

  #end(status, statusText, headers, body) {
    const length = typeof body === "string" ? Buffer.byteLength(body) : body.byteLength;
    // A reply to HEAD has the length that a GET would have, which only the function
    // knows if it has left the body out.
    const without = length === 0 && this.incoming.method === "HEAD";
    const head = allowed(headers, without ? undefined : "content-length");
    if (!without && status !== 204 && status !== 304) head.push("content-length", length);
    this.#head(status, statusText, head);
    // node:http writes head and text in one piece, as UTF-8, which corrupts
    // non-ASCII bytes in the head.
    this.#outgoing.end(head.some((text) => beyondASCII.test(text)) ? bytesOf(body) : body);
  }

  // streamChunks sends what a handler yields. It waits for the first chunk before the
  // head: only that shows the type, and an error before it is still a crash.
  async #streamChunks(source) {
    this.#source = source;
    if (this.left) return this.#cancel();
    const first = await source.next();
    if (this.left) return;
    const headers = first.done ? [] : ["content-type", typeof first.value === "string" ? "text/plain;charset=UTF-8" : "application/octet-stream"];
    await this.#stream(200, "", headers, source, first);
  }

  // stream sends chunk by chunk, as fast as the client reads.
  async #stream(status, statusText, headers, source, first) {
    this.#source = source;
    if (this.left) return this.#cancel();
    const outgoing = this.#outgoing;
    if (this.incoming.method === "HEAD" || bodiless(status)) {
      this.#cancel();
      this.#head(status, statusText, allowed(headers));
      outgoing.end();
      this.#over = true;
      return;
    }
    outgoing.strictContentLength = true; // a wrong length would corrupt the next reply
    try {
      const ahead = first === undefined ? [source.next()] : [first, source.next()];
      // A source that fails before anything is sent is a crash with a trace. One that
      // takes longer than this turn of the event loop must not delay what there is.
      await Promise.race([ahead.at(-1), new Promise(setImmediate)]);
      if (this.left) return;
      this.#head(status, statusText, allowed(headers));
      if (first === undefined) outgoing.flushHeaders();
      for (;;) {
        const chunk = await (ahead.shift() ?? source.next());
        if (this.left) return;
        if (chunk.done) break;
        if (!outgoing.write(chunkOf(chunk.value))) await this.#drained();
        if (this.left) return;
      }
      outgoing.end();
      this.#over = true;
    } catch (error) {
      if (!this.left) this.#cancel();
      throw error;
    }
  }

  #head(status, statusText, headers) {
    this.#outgoing.sendDate = false; // the gateway adds it
    if (statusText === "") this.#outgoing.writeHead(status, headers);
    else this.#outgoing.writeHead(status, statusText, headers);
  }

  #drained() {
    return new Promise((resolve) => {
      this.#wake = resolve;
      this.#outgoing.once("drain", resolve);
    });
  }

  // cancel tells the source of a stream that the reader is gone. What it throws then
  // is ignored.
  #cancel() {
    try {
      Promise.resolve(this.#source?.cancel()).catch(() => {});
    } catch {}
  }
}

// Context is the handler's second argument.
class Context {
  #call;
  env;

  constructor(call, env) {
    this.#call = call;
    this.env = env;
  }

  get call() {
    return this.#call.id;
  }

  get signal() {
    return this.#call.signal;
  }

  // deadline is the Unix time in milliseconds at which the caller gives up.
  get deadline() {
    return Number(this.#call.incoming.headers["mayfly-deadline"]) || undefined;
  }

  waitUntil(promise) {
    this.#call.waitUntil(promise);
  }

  // passThroughOnException belongs to the Workers form; a function has no origin to
  // fall back to.
  passThroughOnException() {}
}

function gone() {
  return new DOMException("the client disconnected", "AbortError");
}

function bodiless(status) {
  return status === 204 || status === 205 || status === 304;
}

function json(value) {
  const text = JSON.stringify(value);
  if (text === undefined) throw new TypeError(`the handler returned a ${typeof value}, which is not a reply`);
  return text;
}

// allowed copies headers, without those of the connection.
function allowed(headers, also) {
  const kept = [];
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i];
    if (name !== also && !connection.includes(name)) kept.push(name, headers[i + 1]);
  }
  return kept;
}

// fetched returns the headers of a real response. fetch() has already decoded its
// body, so Content-Encoding and its length no longer apply.
function fetched(response) {
  if (response.type === "default" || !response.headers.has("content-encoding")) return response.headers;
  const headers = new Headers(response.headers);
  headers.delete("content-encoding");
  headers.delete("content-length");
  return headers;
}

// A source yields a stream's chunks, and can be told that the reader is gone.
function ofStream(stream) {
  const reader = stream.getReader();
  return { next: () => reader.read(), cancel: () => reader.cancel(gone()) };
}

function ofIterator(iterator) {
  const chunks = iterator[Symbol.asyncIterator]?.() ?? iterator;
  return { next: () => chunks.next(), cancel: () => chunks.return?.() };
}

// isIterator reports whether a value is what a generator returns. Arrays and maps are
// iterable too, but are data.
function isIterator(value) {
  if (typeof value[Symbol.asyncIterator] === "function") return value[Symbol.toStringTag] !== "ReadableStream";
  return typeof value.next === "function" && typeof value[Symbol.iterator] === "function";
}

function chunkOf(chunk) {
  if (typeof chunk === "string" || chunk instanceof Uint8Array) return chunk;
  if (isBytes(chunk)) return bytesOf(chunk);
  throw new TypeError(`a chunk of a stream must be text or bytes, not ${chunk === null ? "null" : typeof chunk}`);
}
