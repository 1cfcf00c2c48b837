// Response as in https://fetch.spec.whatwg.org/#response-class. Text and bytes are
// kept as they are; any other body goes to a real Response.

import { Headers } from "./headers.mjs";
import { hasInstance, standard } from "./standard.mjs";

const reason = /^[\t\x20-\x7e\x80-\xff]*$/;
const bodiless = [101, 204, 205, 304];
const redirects = [301, 302, 303, 307, 308];
const complex = ["Blob", "File", "FormData", "URLSearchParams", "ReadableStream"];

export class Response {
  #status = 200;
  #statusText = "";
  #type = "default";
  #headers = null; // null until needed, if none were given
  #body = null; // string or Uint8Array
  #used = false;
  #real = null; // the real response, if it has the body

  constructor(body = null, init = undefined) {
    if (init !== undefined && init !== null) this.#init(init);
    if (body === null) return;
    if (bodiless.includes(this.#status)) throw new TypeError(`a response of status ${this.#status} has no body`);
    let type = "";
    if (isComplex(body)) {
      this.#real = new (standard("Response"))(body);
      type = this.#real.headers.get("content-type") ?? "";
    } else if (isBytes(body)) {
      this.#body = Uint8Array.prototype.slice.call(bytesOf(body)); // the caller may reuse its buffer
    } else {
      this.#body = `${body}`;
      type = "text/plain;charset=UTF-8";
    }
    if (type !== "" && this.#headers !== null && !this.#headers.has("content-type")) this.#headers.append("content-type", type);
    else if (type !== "" && this.#headers === null) this.#headers = type === "text/plain;charset=UTF-8" ? null : new Headers([["content-type", type]]);
  }

  #init(init) {
    if (init.status !== undefined) this.#status = statusOf(init.status);
    if (init.statusText !== undefined) {
      this.#statusText = `${init.statusText}`;
      if (!reason.test(this.#statusText)) throw new TypeError("statusText is no reason phrase");
    }
    if (init.headers !== undefined) this.#headers = new Headers(init.headers);
  }

  static json(data, init) {
    const text = JSON.stringify(data);
    if (text === undefined) throw new TypeError(`${typeof data} is no JSON`);
    const headers = new Headers(init?.headers);
    if (!headers.has("content-type")) headers.append("content-type", "application/json");
    return new Response(text, { status: init?.status, statusText: init?.statusText, headers });
  }

  static redirect(url, status = 302) {
    const location = new URL(`${url}`).href;
    if (!redirects.includes(status)) throw new RangeError(`${status} is no status of a redirect`);
    const response = new Response(null, { status, headers: { location } });
    Headers.freeze(response.#headers);
    return response;
  }

  static error() {
    const response = new Response();
    response.#type = "error";
    response.#status = 0;
    Headers.freeze(response.headers);
    return response;
  }

  // parts returns what a light response is made of, or null for other values. The
  // headers are null if they are those of text; the stream is set if the body is neither
  // text nor bytes.
  static parts(value) {
    if (!(#status in value)) return null;
    if (value.bodyUsed) throw new TypeError("the response's body was read already");
    return {
      status: value.#status,
      headers: value.#headers !== null ? Headers.flat(value.#headers) : typeof value.#body === "string" ? null : [],
      body: value.#body,
      stream: value.#real?.body ?? null,
    };
  }

  get headers() {
    if (this.#headers === null) {
      this.#headers = new Headers();
      if (typeof this.#body === "string") this.#headers.append("content-type", "text/plain;charset=UTF-8");
    }
    return this.#headers;
  }

  get status() {
    return this.#status;
  }

  get statusText() {
    return this.#statusText;
  }

  get ok() {
    return this.#status >= 200 && this.#status <= 299;
  }

  get type() {
    return this.#type;
  }

  get url() {
    return "";
  }

  get redirected() {
    return false;
  }

  get body() {
    return this.#standard().body;
  }

  get bodyUsed() {
    return this.#real ? this.#real.bodyUsed : this.#used;
  }

  clone() {
    if (this.bodyUsed || this.#real?.body?.locked) throw new TypeError("a body that was read cannot be cloned");
    const copy = new Response(null, { status: this.#status || 200, statusText: this.#statusText, headers: this.headers });
    copy.#status = this.#status;
    copy.#type = this.#type;
    copy.#body = this.#body;
    copy.#real = this.#real && this.#real.clone();
    return copy;
  }

  text() {
    return this.#real ? this.#real.text() : this.#read(textOf);
  }

  json() {
    return this.#real ? this.#real.json() : this.#read((body) => JSON.parse(textOf(body)));
  }

  arrayBuffer() {
    return this.#real ? this.#real.arrayBuffer() : this.#read((body) => Uint8Array.from(bytesOf(body)).buffer);
  }

  bytes() {
    return this.arrayBuffer().then((buffer) => new Uint8Array(buffer));
  }

  blob() {
    return this.#standard().blob();
  }

  formData() {
    return this.#standard().formData();
  }

  get [Symbol.toStringTag]() {
    return "Response";
  }

  [Symbol.for("nodejs.util.inspect.custom")](depth, options, inspect) {
    const { status, statusText, headers, bodyUsed } = this;
    return `Response ${inspect({ status, statusText, headers, bodyUsed }, options)}`;
  }

  async #read(convert) {
    if (this.#used) throw new TypeError("Body is unusable: it was already read");
    this.#used = this.#body !== null;
    return convert(this.#body ?? "");
  }

  // standard moves the body to a real response and returns that.
  #standard() {
    if (this.#real === null) {
      const headers = Headers.flat(this.headers).length ? { "content-type": this.headers.get("content-type") ?? "" } : {};
      this.#real = new (standard("Response"))(this.#body, { headers });
      if (this.#used) this.#real.text();
      this.#body = null;
    }
    return this.#real;
  }
}

Object.defineProperty(Response, Symbol.hasInstance, hasInstance("Response", Response));

// isComplex reports whether a body needs a real Response.
export function isComplex(body) {
  return typeof body === "object" && (complex.includes(body[Symbol.toStringTag]) || typeof body[Symbol.asyncIterator] === "function");
}

// isBytes reports whether a value is an ArrayBuffer or a view of one.
export function isBytes(value) {
  return ArrayBuffer.isView(value) || value instanceof ArrayBuffer || Object.prototype.toString.call(value) === "[object ArrayBuffer]";
}

// bytesOf returns text or bytes as a Uint8Array.
export function bytesOf(value) {
  if (typeof value === "string") return Buffer.from(value);
  if (value instanceof Uint8Array) return value;
  return ArrayBuffer.isView(value) ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength) : new Uint8Array(value);
}

// textOf decodes a body as the standard does: UTF-8, without a byte order mark.
export function textOf(body) {
  const bytes = bytesOf(body);
  const text = (bytes instanceof Buffer ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)).toString();
  return text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
}

function statusOf(status) {
  const number = Math.trunc(Number(status)) & 0xffff; // WebIDL's unsigned short
  if (number < 200 || number > 599) throw new RangeError(`status ${status} is not between 200 and 599`);
  return number;
}
