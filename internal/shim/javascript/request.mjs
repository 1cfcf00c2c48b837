// Request as in https://fetch.spec.whatwg.org/#request-class, over a call. Everything is computed on demand; unusual uses go to a real Request,
// which then takes over.
//
// It adds `call`, the call's id, and `params`, the values of the route's pattern.

import { Headers } from "./headers.mjs";
import { textOf } from "./response.mjs";
import { hasInstance, standard } from "./standard.mjs";

const received = Symbol("received");
const nothing = Buffer.alloc(0);

export class Request {
  #call;
  #url = null;
  #headers = null;
  #params = null;
  #body = null; // the stream, once requested
  #used = false;
  #real = null;

  // A Request that a function constructs is a real one.
  constructor(input, init) {
    if (init !== received) return new (standard("Request"))(Request.standard(input), init);
    this.#call = input;
  }

  // of returns a call's request.
  static of(call) {
    return new Request(call, received);
  }

  // standard returns the real request behind a light one, and other values unchanged.
  static standard(value) {
    return typeof value === "object" && value !== null && #call in value ? value.#standard() : value;
  }

  get call() {
    return this.#call.id;
  }

  get params() {
    return (this.#params ??= paramsOf(this.headers));
  }

  get method() {
    return this.#call.method;
  }

  get url() {
    return (this.#url ??= urlOf(this.#call));
  }

  get headers() {
    if (this.#real) return this.#real.headers;
    return (this.#headers ??= this.#call.headers);
  }

  get signal() {
    return this.#call.signal;
  }

  get body() {
    if (this.#real) return this.#real.body;
    if (this.#body === null && !this.#call.hasBody) return null;
    if (this.#body === null) {
      this.#body = streamOf(this.#call);
      if (this.#used) this.#body.cancel();
    }
    return this.#body;
  }

  get bodyUsed() {
    if (this.#real) return this.#real.bodyUsed;
    return this.#body ? this.#standard().bodyUsed : this.#used;
  }

  text() {
    return this.#unusual() ? this.#standard().text() : this.#read(textOf);
  }

  json() {
    return this.#unusual() ? this.#standard().json().catch(refuse) : this.#read(jsonOf);
  }

  arrayBuffer() {
    return this.#unusual() ? this.#standard().arrayBuffer() : this.#read((body) => new Uint8Array(body).buffer);
  }

  async bytes() {
    return new Uint8Array(await this.arrayBuffer());
  }

  async blob() {
    return this.#standard().blob();
  }

  async formData() {
    return this.#standard().formData();
  }

  clone() {
    return this.#standard().clone();
  }

  get [Symbol.toStringTag]() {
    return "Request";
  }

  [Symbol.for("nodejs.util.inspect.custom")](depth, options, inspect) {
    const { method, url, headers, bodyUsed, call, params } = this;
    return `Request ${inspect({ method, url, headers, bodyUsed, call, params }, options)}`;
  }

  // unusual reports whether the body belongs to a stream or a real request by now.
  #unusual() {
    return this.#real !== null || this.#body !== null;
  }

  // read returns a promise of convert(whole body).
  #read(convert) {
    try {
      if (this.#used) throw new TypeError("Body is unusable: it was already read");
      if (!this.#call.hasBody) return Promise.resolve(convert(nothing));
      this.#used = true;
      const body = this.#call.take();
      return body instanceof Promise ? body.then(convert) : Promise.resolve(convert(body));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #standard() {
    if (this.#real === null) {
      const { method, url, signal } = this;
      const body = method === "GET" || method === "HEAD" ? null : this.body;
      this.#real = new (standard("Request"))(url, { method, headers: this.headers, signal, body, duplex: "half" });
      if (this.#used && !this.#real.bodyUsed) this.#real.text().catch(() => {});
    }
    return this.#real;
  }
}

// Values that describe a browser's request, fixed for one from outside.
const fixed = {
  cache: "default",
  credentials: "same-origin",
  destination: "",
  duplex: "half",
  integrity: "",
  isHistoryNavigation: false,
  isReloadNavigation: false,
  keepalive: false,
  mode: "cors",
  redirect: "follow",
  referrer: "about:client",
  referrerPolicy: "",
};
for (const [name, value] of Object.entries(fixed)) {
  Object.defineProperty(Request.prototype, name, { get: () => value, configurable: true, enumerable: true });
}

Object.defineProperty(Request, Symbol.hasInstance, hasInstance("Request", Request));

// Errors of request bodies that are not JSON. As the standard says they are
// SyntaxErrors, and so look like those of the user's own JSON.parse.
const refused = new WeakSet();

// isRefused reports whether an error means that the client sent invalid JSON.
export function isRefused(error) {
  return typeof error === "object" && error !== null && refused.has(error);
}

function refuse(error) {
  if (error instanceof SyntaxError) refused.add(error);
  throw error;
}

// jsonOf parses a body.
export function jsonOf(body) {
  try {
    return JSON.parse(textOf(body));
  } catch (error) {
    refuse(error);
  }
}

const hostHeader = /\nhost:(.*)/i;
const schemeHeader = /\nx-forwarded-proto:(.*)/i;

function urlOf(call) {
  const scheme = call.header(schemeHeader) === "https" ? "https" : "http";
  const { target } = call;
  const path = target.startsWith("/") ? target : "/";
  try {
    return new URL(`${scheme}://${call.header(hostHeader) || "localhost"}${path}`).href;
  } catch {
    return new URL(`${scheme}://localhost${path}`).href; // the Host is invalid
  }
}

// paramsOf returns the values that the route's pattern took from the path. Header
// names have no case, and so neither do params: params.userId is Mayfly-Param-Userid.
function paramsOf(headers) {
  const params = Object.create(null);
  const prefix = "mayfly-param-";
  for (const [name, value] of headers) {
    if (name.startsWith(prefix)) params[name.slice(prefix.length)] = Buffer.from(value, "latin1").toString();
  }
  const lower = (name) => (typeof name === "string" ? name.toLowerCase() : name);
  return new Proxy(params, {
    get: (target, name) => target[lower(name)],
    has: (target, name) => lower(name) in target,
  });
}

// streamOf returns the body as a stream with backpressure.
function streamOf(call) {
  return new ReadableStream({
    type: "bytes",
    async pull(controller) {
      const piece = await call.piece();
      if (piece !== null) return controller.enqueue(piece);
      controller.close();
      controller.byobRequest?.respond(0);
    },
  });
}
