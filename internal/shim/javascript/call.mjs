// A call: a request that came in frames, the handler's result, and the reply made of it.

import { Pieces } from "./body.mjs";
import { methods } from "./form.mjs";
import { Headers } from "./headers.mjs";
import { DATA, ERROR, HEAD, maxBody, maxHead, window } from "./frame.mjs";
import { Request, isRefused } from "./request.mjs";
import { Response, bytesOf, isBytes, isComplex } from "./response.mjs";
import { isStandard } from "./standard.mjs";
import { headlineOf, traceOf } from "./trace.mjs";

const plain = ["content-type", "text/plain;charset=UTF-8"];
const json = ["content-type", "application/json"];

// The heads of most replies.
const plainHead = Buffer.from(headOf(200, plain));
const jsonHead = Buffer.from(headOf(200, json));

const late = new Set(); // unsettled promises passed to waitUntil

// settled waits for everything passed to waitUntil.
export async function settled() {
  while (late.size > 0) await Promise.all(late);
}

export class Call {
  #link;
  #number;
  #head;
  #bytes; // the part of the body that came with the head: a part of a buffer
  #from;
  #to;
  #pieces = null; // the body, if there is more
  #left = false; // the client disconnected before it had its reply
  #over = false;
  #begun = false; // the reply's head was sent
  #credit = window; // how much of the reply's body may be sent
  #source = null; // of a streamed reply
  #wake = null; // ends a wait for the client to read
  #controller = null;

  constructor(link, number, head, bytes, from, to, whole) {
    this.#link = link;
    this.#number = number;
    this.#head = head;
    this.#bytes = bytes;
    this.#from = from;
    this.#to = to;
    if (!whole) this.#pieces = new Pieces((size) => this.#over || link.grant(number, size));
  }

  // keep copies what the buffer, which is used again, has of the body.
  keep() {
    if (this.#pieces !== null) {
      this.receive(this.#bytes, this.#from, this.#to, false);
    } else if (this.#to > this.#from && this.#bytes !== null) {
      this.#bytes = Uint8Array.prototype.slice.call(this.#bytes, this.#from, this.#to);
      this.#to -= this.#from;
      this.#from = 0;
      return;
    }
    this.#bytes = null;
  }

  // receive takes more of the body.
  receive(bytes, from, to, end) {
    if (this.#pieces === null) return;
    const piece = Uint8Array.prototype.slice.call(bytes, from, to);
    if (!this.#pieces.add(piece, end)) this.#link.violated("more of a body than was granted");
  }

  // granted takes the leave to send more of the reply's body.
  granted(size) {
    this.#credit += size;
    this.#wake?.();
  }

  // leave is called when nobody waits for the reply anymore.
  leave() {
    this.#end();
    this.#left = true;
    this.#controller?.abort(gone());
    this.#cancel();
    this.#wake?.();
  }

  get id() {
    return this.header(callHeader) ?? "";
  }

  get method() {
    return this.#head.slice(0, this.#head.indexOf(" "));
  }

  get target() {
    return this.#head.slice(this.#head.indexOf(" ") + 1, this.#head.indexOf("\n"));
  }

  // header returns the value that a pattern like callHeader finds, or undefined.
  header(pattern) {
    return pattern.exec(this.#head)?.[1];
  }

  get headers() {
    return Headers.received(this.#head);
  }

  get hasBody() {
    return this.#pieces !== null || this.#to > this.#from;
  }

  // take returns the whole body, which is valid until the handler waits, or a promise of it.
  take() {
    if (this.#pieces !== null) return this.#pieces.all();
    const body = this.#bytes.subarray(this.#from, this.#to);
    this.#bytes = null;
    return body;
  }

  // piece returns a promise of the next part of the body, or of null at its end.
  async piece() {
    if (this.#pieces !== null) return this.#pieces.next();
    return this.#bytes === null ? null : new Uint8Array(this.take());
  }

  get signal() {
    if (this.#controller === null) {
      this.#controller = new AbortController();
      if (this.#left) this.#controller.abort(gone());
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

  // answer passes the call to a handler and sends the result. It never throws.
  answer(handler, env) {
    if (!isKnown(this.#head)) return this.#reject();
    try {
      const result = handler(Request.of(this), new Context(this, env));
      if (typeof result?.then !== "function") return this.#reply(result);
      Promise.resolve(result).then((value) => this.#reply(value), (error) => this.crash(error));
    } catch (error) {
      this.crash(error);
    }
  }

  // crash replies that the function's code failed.
  crash(error) {
    if (this.#left && error?.name === "AbortError") return; // it stopped because it was canceled
    if (isRefused(error) && !this.#over && !this.#begun) {
      return this.#finish(400, plain, `the request's body is not JSON: ${error.message}\n`);
    }
    const trace = traceOf(error);
    process.stderr.write(trace + "\n");
    if (this.#over) return;
    this.#end();
    this.#link.send(this.#number, ERROR, Buffer.from(headlineOf(error)), Buffer.from(trace).subarray(0, maxBody), true);
  }

  // reject replies that Node.js does not support the request's method.
  #reject() {
    const body = JSON.stringify({ title: "Not Implemented", status: 501, detail: "Node.js does not support this method" });
    this.#finish(501, ["content-type", "application/problem+json"], body);
  }

  // reply sends the handler's result.
  #reply(value) {
    try {
      if (typeof value === "string") this.#finish(200, plain, value, plainHead);
      else if (value === null || value === undefined) this.#finish(204, [], "");
      else if (typeof value !== "object") this.#finish(200, json, jsonOf(value), jsonHead);
      else this.#replyObject(value);
    } catch (error) {
      this.crash(error);
    }
  }

  #replyObject(value) {
    const parts = Response.parts(value);
    if (parts !== null) {
      if (parts.status === 0) throw new TypeError("the handler returned Response.error()");
      if (parts.stream !== null) this.#stream(parts.status, parts.headers, ofStream(parts.stream));
      else if (parts.headers === null) this.#finish(parts.status, plain, parts.body, parts.status === 200 ? plainHead : undefined);
      else this.#finish(parts.status, parts.headers, parts.body ?? "");
    } else if (isStandard("Response", value)) {
      const headers = Headers.flat(new Headers(fetched(value)));
      if (value.body !== null) this.#stream(value.status, headers, ofStream(value.body));
      else this.#finish(value.status, headers, "");
    } else if (isBytes(value)) {
      this.#finish(200, ["content-type", "application/octet-stream"], bytesOf(value));
    } else if (isIterator(value)) {
      this.#streamChunks(ofIterator(value));
    } else if (isComplex(value) || value[Symbol.toStringTag] === "Response") {
      this.#replyObject(new Response(value.body ?? value, value.body && value));
    } else {
      this.#finish(200, json, jsonOf(value), jsonHead);
    }
  }

  // finish sends a whole reply. Its head is made of the status and the headers if it is
  // not given.
  #finish(status, headers, body, head) {
    if (this.#over) return;
    if (body.length > maxBody / 3 && Buffer.byteLength(body) > maxBody && !this.#isHead()) return this.#long(status, headers, bytesOf(body));
    if (this.#isHead() || head === undefined) {
      const length = typeof body === "string" ? Buffer.byteLength(body) : body.length;
      // A reply to HEAD has the length that a GET would have, which only the function
      // knows if it has left the body out.
      head = headOf(status, headers, length === 0 && this.#isHead());
      if (this.#isHead()) {
        if (length > 0) head += `content-length:${length}\n`;
        body = "";
      }
    }
    this.#begin(head, body, true);
    this.#end();
  }

  // long sends a reply of more than one frame.
  async #long(status, headers, body) {
    try {
      this.#begin(`${headOf(status, headers)}content-length:${body.length}\n`, "", false);
      await this.#send(body, true);
      this.#end();
    } catch (error) {
      this.crash(error);
    }
  }

  #begin(head, body, end) {
    if (head.length > maxHead) throw new TypeError("the reply's headers are longer than 64 KiB");
    this.#begun = true;
    this.#link.send(this.#number, HEAD, head, body, end);
  }

  // send sends a part of the body, as the client reads.
  async #send(bytes, end) {
    for (let from = 0; from < bytes.length; ) {
      if (this.#credit === 0) await new Promise((resolve) => (this.#wake = resolve));
      if (this.#over) return;
      const to = Math.min(bytes.length, from + Math.min(this.#credit, maxBody));
      this.#credit -= to - from;
      this.#link.send(this.#number, DATA, "", bytes.subarray(from, to), end && to === bytes.length);
      from = to;
    }
  }

  // end makes the call over.
  #end() {
    if (this.#over) return;
    this.#over = true;
    this.#pieces?.fail(gone());
    this.#link.over(this.#number);
  }

  // streamChunks sends what a handler yields. It waits for the first chunk before the
  // head: only that shows the type.
  async #streamChunks(source) {
    try {
      this.#source = source;
      if (this.#over) return this.#cancel();
      const first = await source.next();
      if (this.#over) return;
      const type = typeof first.value === "string" ? plain : ["content-type", "application/octet-stream"];
      this.#stream(200, first.done ? [] : type, source, first);
    } catch (error) {
      this.crash(error);
    }
  }

  // stream sends chunk by chunk, as fast as the client reads.
  async #stream(status, headers, source, first) {
    this.#source = source;
    if (this.#over) return this.#cancel();
    try {
      if (this.#isHead() || bodiless(status)) {
        this.#begin(headOf(status, headers, true), "", true);
        this.#cancel();
        return this.#end();
      }
      const ahead = first === undefined ? [source.next()] : [first, source.next()];
      // A source that fails before anything is sent is a crash with a trace. One that
      // takes longer than this turn of the event loop must not delay what there is.
      await Promise.race([ahead.at(-1), new Promise(setImmediate)]);
      if (this.#over) return;
      this.#begin(headOf(status, headers, true), "", false);
      let left = lengthOf(headers);
      for (;;) {
        const chunk = await (ahead.shift() ?? source.next());
        if (this.#over) return;
        if (chunk.done) break;
        const bytes = chunkOf(chunk.value);
        left -= bytes.length;
        if (left < 0) throw new TypeError("the body is longer than its Content-Length");
        await this.#send(bytes, false);
        if (this.#over) return;
      }
      if (left > 0 && left !== Infinity) throw new TypeError("the body is shorter than its Content-Length");
      this.#link.send(this.#number, DATA, "", "", true);
      this.#end();
    } catch (error) {
      if (!this.#left) this.#cancel();
      this.crash(error);
    }
  }

  // cancel tells the source of a stream that the reader is gone. What it throws then
  // is ignored.
  #cancel() {
    try {
      Promise.resolve(this.#source?.cancel()).catch(() => {});
    } catch {}
  }

  #isHead() {
    return this.#head.startsWith("HEAD ");
  }
}

// Headers that calls are asked for.
const callHeader = /\nmayfly-call:(.*)/i;
const deadlineHeader = /\nmayfly-deadline:(.*)/i;

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
    return Number(this.#call.header(deadlineHeader)) || undefined;
  }

  waitUntil(promise) {
    this.#call.waitUntil(promise);
  }

  // passThroughOnException belongs to the Workers form; a function has no origin to
  // fall back to.
  passThroughOnException() {}
}

// isKnown reports whether Node.js, and so Request, knows a request's method.
function isKnown(head) {
  if (head.startsWith("GET ") || head.startsWith("POST ")) return true;
  const method = head.slice(0, head.indexOf(" "));
  return methods.includes(method) || require("node:http").METHODS.includes(method);
}

function gone() {
  return new DOMException("the client disconnected", "AbortError");
}

function bodiless(status) {
  return status === 204 || status === 205 || status === 304;
}

function jsonOf(value) {
  const text = JSON.stringify(value);
  if (text === undefined) throw new TypeError(`the handler returned a ${typeof value}, which is not a reply`);
  return text;
}

// headOf returns the head of a reply. A whole reply has the length that it has.
function headOf(status, headers, sized) {
  let head = `${status}\n`;
  for (let i = 0; i < headers.length; i += 2) {
    if (sized || headers[i] !== "content-length") head += `${headers[i]}:${headers[i + 1]}\n`;
  }
  return head;
}

// lengthOf returns the length that a stream's headers promise, or Infinity.
function lengthOf(headers) {
  const at = headers.indexOf("content-length");
  return at < 0 || at % 2 === 1 ? Infinity : Number(headers[at + 1]);
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
  if (typeof chunk === "string" || isBytes(chunk)) return bytesOf(chunk);
  throw new TypeError(`a chunk of a stream must be text or bytes, not ${chunk === null ? "null" : typeof chunk}`);
}
