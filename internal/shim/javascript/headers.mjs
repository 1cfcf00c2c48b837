// Headers as in https://fetch.spec.whatwg.org/#headers-class, kept as a flat list of
// lower-case names and values: a call has few.

import { hasInstance } from "./standard.mjs";

const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const forbidden = /[\0\r\n\u0100-\uffff]/;
const separators = { "set-cookie": null, cookie: "; " }; // null: never joined

export class Headers {
  #list = [];
  #immutable = false;

  constructor(init) {
    if (init === undefined) return;
    if (init === null || typeof init !== "object") throw new TypeError("headers must be an object or a list of pairs");
    if (#list in init) {
      this.#list = init.#list.slice();
    } else if (typeof init[Symbol.iterator] === "function") {
      for (const pair of init) {
        const [name, value, ...more] = pair;
        if (value === undefined || more.length > 0) throw new TypeError("each header must be a pair of name and value");
        this.append(name, value);
      }
    } else {
      for (const name of Object.keys(init)) this.append(name, init[name]);
    }
  }

  // received returns the headers of a request's head, which the node has checked.
  static received(head) {
    const headers = new Headers();
    for (let at = head.indexOf("\n") + 1; at < head.length; ) {
      const colon = head.indexOf(":", at);
      const end = head.indexOf("\n", colon);
      headers.#add(head.slice(at, colon).toLowerCase(), head.slice(colon + 1, end));
      at = end + 1;
    }
    return headers;
  }

  // flat returns alternating names and values, uncopied.
  static flat(headers) {
    return headers.#list;
  }

  // freeze makes headers immutable, like those of Response.redirect.
  static freeze(headers) {
    headers.#immutable = true;
  }

  get(name) {
    name = nameOf(name);
    const list = this.#list;
    let found = null;
    for (let i = 0; i < list.length; i += 2) {
      if (list[i] === name) found = found === null ? list[i + 1] : `${found}, ${list[i + 1]}`;
    }
    return found;
  }

  has(name) {
    return this.#find(nameOf(name)) >= 0;
  }

  set(name, value) {
    this.#change();
    name = nameOf(name);
    value = valueOf(value);
    const at = this.#find(name);
    if (at < 0) {
      this.#list.push(name, value);
      return;
    }
    this.#list[at + 1] = value;
    this.#remove(name, at + 2);
  }

  append(name, value) {
    this.#change();
    this.#add(nameOf(name), valueOf(value));
  }

  delete(name) {
    this.#change();
    this.#remove(nameOf(name), 0);
  }

  getSetCookie() {
    return this.#list.filter((_, i) => i % 2 === 1 && this.#list[i - 1] === "set-cookie");
  }

  forEach(visit, self) {
    for (const [name, value] of this) visit.call(self, value, name, this);
  }

  *entries() {
    const list = this.#list;
    const pairs = [];
    for (let i = 0; i < list.length; i += 2) pairs.push([list[i], list[i + 1]]);
    yield* pairs.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)); // stable: cookies keep their order
  }

  *keys() {
    for (const [name] of this) yield name;
  }

  *values() {
    for (const [, value] of this) yield value;
  }

  [Symbol.iterator]() {
    return this.entries();
  }

  get [Symbol.toStringTag]() {
    return "Headers";
  }

  [Symbol.for("nodejs.util.inspect.custom")](depth, options, inspect) {
    return `Headers ${inspect(Object.fromEntries(this), options)}`;
  }

  #add(name, value) {
    const separator = name in separators ? separators[name] : ", ";
    const at = separator === null ? -1 : this.#find(name);
    if (at < 0) this.#list.push(name, value);
    else this.#list[at + 1] += separator + value;
  }

  #find(name) {
    const list = this.#list;
    for (let i = 0; i < list.length; i += 2) if (list[i] === name) return i;
    return -1;
  }

  #remove(name, from) {
    const list = this.#list;
    for (let i = list.length - 2; i >= from; i -= 2) if (list[i] === name) list.splice(i, 2);
  }

  #change() {
    if (this.#immutable) throw new TypeError("immutable");
  }
}

Object.defineProperty(Headers, Symbol.hasInstance, hasInstance("Headers", Headers));

function nameOf(name) {
  name = `${name}`;
  if (!token.test(name)) throw new TypeError(`${JSON.stringify(name)} is not a header name`);
  return name.toLowerCase();
}

function valueOf(value) {
  value = trim(`${value}`);
  if (forbidden.test(value)) throw new TypeError(`${JSON.stringify(value)} is not a header value`);
  return value;
}

// trim removes HTTP whitespace. String.prototype.trim removes more, and a regular
// expression is quadratic on hostile values.
function trim(value) {
  let from = 0;
  let to = value.length;
  while (from < to && isSpace(value.charCodeAt(from))) from++;
  while (to > from && isSpace(value.charCodeAt(to - 1))) to--;
  return value.slice(from, to);
}

function isSpace(code) {
  return code === 0x20 || code === 0x09 || code === 0x0a || code === 0x0d;
}
