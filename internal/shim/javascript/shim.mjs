// The shim: serves HTTP on Mayfly's socket with the handler exported by FUNCTION, a
// file that the bundler substitutes.
//
//   export default (request, context) => "hello"           a function
//   export default { fetch(request, env, context) { } }    the Workers form
//
// A module that listens while it is loaded is an ordinary program, whatever it
// exports, and is left alone.

import http from "node:http";
import net from "node:net";
import { Call, settled } from "./call.mjs";
import { Headers } from "./headers.mjs";
import { markOutput, runAs, running } from "./output.mjs";
import { Request } from "./request.mjs";
import { Response } from "./response.mjs";
import { install } from "./standard.mjs";
import { traceOf } from "./trace.mjs";

// Variables that every process needs are not passed to the handler.
const { PATH, HOME, TMPDIR, PORT, MAYFLY_SOCKET, ...env } = process.env;

install({ Headers, Request, Response });
markOutput();

process.on("unhandledRejection", (error) => process.stderr.write(`unhandled rejection: ${traceOf(error)}\n`));
process.on("uncaughtException", (error) => {
  const call = running();
  if (call) call.crash(error);
  else process.stderr.write(`uncaught exception: ${traceOf(error)}\n`);
  process.exitCode = 1;
  setImmediate(() => process.exit()); // its state is unknown; but let the call have its reply
});

const current = Symbol("call"); // of a connection

begin();

async function begin() {
  const listens = watchListen();
  const loaded = await load();
  if (!listens()) serve(handlerOf(loaded));
}

async function load() {
  try {
    return FUNCTION.endsWith(".mjs") ? await import(FUNCTION) : require(FUNCTION);
  } catch (error) {
    process.stderr.write(traceOf(error) + "\n");
    process.exit(1);
  }
}

// watchListen returns a function that reports whether anything has listened since.
function watchListen() {
  const { listen } = net.Server.prototype;
  let listened = false;
  net.Server.prototype.listen = function (...args) {
    listened = true;
    return listen.apply(this, args);
  };
  return () => {
    net.Server.prototype.listen = listen;
    return listened;
  };
}

// handlerOf finds the handler in a loaded module: the default export of an ES module,
// compiled or not, or all of CommonJS's exports.
function handlerOf(loaded) {
  let value = loaded;
  for (let depth = 0; depth < 2 && typeof value === "object" && value?.default; depth++) value = value.default;
  if (typeof value?.fetch === "function") return (request, context) => value.fetch(request, env, context);
  if (typeof value !== "function") refuse("no handler: export default (request) => new Response() or { fetch(request) { } }");
  if (/^class\b/.test(Function.prototype.toString.call(value))) refuse("a class: export default new App()");
  return value;
}

// refuse ends the process because the default export is unusable.
function refuse(what) {
  process.stderr.write(`the default export is ${what}\n`);
  process.exit(1);
}

function serve(handler) {
  // The only client is trusted; it keeps its own connections and timeouts.
  const answer = (call) => call.answer(handler, env);
  const server = http.createServer({
    keepAliveTimeout: 0,
    headersTimeout: 0,
    requestTimeout: 0,
    maxHeaderSize: 64 * 1024,
  });
  server.maxHeadersCount = 0;
  server.on("connection", (socket) => socket.on("close", () => socket[current]?.leave()));
  server.on("request", (incoming, outgoing) => {
    const call = new Call(incoming, outgoing);
    incoming.socket[current] = call;
    runAs(call, answer);
  });
  server.listen(MAYFLY_SOCKET);
  process.once("SIGTERM", () => stop(server));
}

// stop rejects new calls, finishes those in flight and everything passed to
// waitUntil, and ends the process.
async function stop(server) {
  const closed = new Promise((resolve) => server.close(resolve));
  const idle = setInterval(() => server.closeIdleConnections(), 20);
  await closed;
  clearInterval(idle);
  await settled();
  process.exit(0);
}
