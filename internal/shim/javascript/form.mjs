// The forms of a handler. Each becomes a function that answers a Call.

import http from "node:http";
import { jsonOf } from "./request.mjs";
import { Response } from "./response.mjs";

const methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

// answerOf finds the handler in a loaded module: the default export of an ES module,
// compiled or not, or all of CommonJS's exports. It returns null if a CommonJS module
// has none, and throws if what is exported cannot be one.
export async function answerOf(loaded, env) {
  let value = await loaded;
  let isDefault = false;
  for (let depth = 0; depth < 2 && typeof value === "object" && value?.default; depth++) {
    value = await value.default;
    isDefault = true;
  }
  if (typeof value?.fetch === "function") return standard((request, context) => value.fetch(request, env, context), env);
  const listener = await listenerOf(value);
  if (listener !== null) return (call) => call.pass(listener);
  if (typeof value === "function") {
    if (/^class\b/.test(Function.prototype.toString.call(value))) refuse("a class: export default new App()");
    return standard(value, env);
  }
  if (methods.some((name) => typeof loaded[name] === "function")) return standard(byMethod(loaded), env);
  if (isDefault) refuse("no handler: export default (request) => new Response() or { fetch(request) { } }");
  return null;
}

function standard(handler, env) {
  return (call) => call.answer(handler, env);
}

// listenerOf returns what takes node:http's request and response, or null: a server,
// the application of a framework, or a function that names them so.
async function listenerOf(value) {
  if (value instanceof http.Server) return (incoming, outgoing) => void value.emit("request", incoming, outgoing);
  if (typeof value?.routing === "function" && typeof value.ready === "function") {
    await value.ready(); // Fastify loads its plugins
    return value.routing;
  }
  if (typeof value?.callback === "function" && Array.isArray(value.middleware)) return value.callback(); // Koa
  if (typeof value !== "function") return null;
  if (typeof value.use === "function" && typeof value.handle === "function") return value; // Express, Connect
  const text = Function.prototype.toString.call(value);
  if (!named.test(text)) return null;
  return async (incoming, outgoing) => {
    if (readsBody.test(text)) incoming.body = await bodyOf(incoming);
    return value(helped(incoming), helpful(outgoing));
  };
}

// named matches a function whose second parameter is a response.
const named = /^[^(]*\(\s*(?:\{[^}]*\}|[^,(){}]*),\s*_?res(?:ponse)?\d*\s*[,)=]/;

// readsBody matches a function that takes the body from its request, parsed. Others may
// read the request as a stream.
const readsBody = /\.body\b|\{[^{}]*\bbody\b[^{}]*\}\s*(?:,|=\s*req)/;

// byMethod passes a request to the export of its method's name.
function byMethod(loaded) {
  const known = (name) => typeof loaded[name] === "function";
  const allow = methods.filter((name) => known(name) || (name === "HEAD" && known("GET"))).join(", ");
  return (request, context) => {
    const { method } = request;
    if (methods.includes(method) && known(method)) return loaded[method](request, context);
    if (method === "HEAD" && known("GET")) return loaded.GET(request, context);
    return new Response(null, { status: method === "OPTIONS" ? 204 : 405, headers: { allow } });
  };
}

// helped gives a request what Vercel's and Google's functions add to it.
function helped(incoming) {
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
function helpful(outgoing) {
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
async function bodyOf(incoming) {
  const chunks = [];
  for await (const chunk of incoming) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  const type = incoming.headers["content-type"] ?? "";
  if (bytes.length === 0) return undefined;
  if (/^application\/([\w.-]+\+)?json\b/.test(type)) return jsonOf(bytes);
  if (/^application\/x-www-form-urlencoded\b/.test(type)) return Object.fromEntries(new URLSearchParams(bytes.toString()));
  return /^text\//.test(type) ? bytes.toString() : bytes;
}

// refuse ends the process because the default export is unusable.
function refuse(what) {
  process.stderr.write(`the default export is ${what}\n`);
  process.exit(1);
}
