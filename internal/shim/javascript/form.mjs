// The forms of a handler.

import net from "node:net";
import { bodyOf, helped, helpful } from "./http.mjs";
import { Response } from "./response.mjs";

export const methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

// handlerOf finds the handler in a loaded module: the default export of an ES module,
// compiled or not, or all of CommonJS's exports. It is a listener if it takes node:http's
// request and response. handlerOf returns null if a CommonJS module has none, and ends
// the process if what is exported cannot be one.
export async function handlerOf(loaded, env) {
  let value = await loaded;
  let isDefault = false;
  for (let depth = 0; depth < 2 && typeof value === "object" && value?.default; depth++) {
    value = await value.default;
    isDefault = true;
  }
  if (typeof value?.fetch === "function") return { handler: (request, context) => value.fetch(request, env, context) };
  const listener = await listenerOf(value);
  if (listener !== null) return { listener };
  if (typeof value === "function") {
    if (/^class\b/.test(Function.prototype.toString.call(value))) refuse("a class: export default new App()");
    return { handler: value };
  }
  if (methods.some((name) => typeof loaded[name] === "function")) return { handler: byMethod(loaded) };
  if (isDefault) refuse("no handler: export default (request) => new Response() or { fetch(request) { } }");
  return null;
}

// listenerOf returns what takes node:http's request and response, or null: a server,
// the application of a framework, or a function that names them so.
async function listenerOf(value) {
  if (value instanceof net.Server && value instanceof require("node:http").Server) return (incoming, outgoing) => void value.emit("request", incoming, outgoing);
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

// refuse ends the process because the default export is unusable.
function refuse(what) {
  process.stderr.write(`the default export is ${what}\n`);
  process.exit(1);
}
