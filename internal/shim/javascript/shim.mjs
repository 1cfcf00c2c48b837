// The shim: answers HTTP on the socket that Mayfly names, with the handler that
// FUNCTION exports, a file that its bundler names.
//
//   export default (request, context) => "hello"           a function
//   export default { fetch(request, env, context) { } }    the Workers form
//
// A module that listens by itself while it is loaded is an ordinary program,
// whatever it exports, and is left alone.

import http from "node:http";
import net from "node:net";
import { Call, settled } from "./call.mjs";
import { Headers } from "./headers.mjs";
import { markOutput, runAs, running } from "./output.mjs";
import { Request } from "./request.mjs";
import { Response } from "./response.mjs";
import { install } from "./standard.mjs";
import { traceOf } from "./trace.mjs";

// What every process needs of its environment is none of the handler's business.
const { PATH, HOME, TMPDIR, PORT, MAYFLY_SOCKET, ...env } = process.env;

install({ Headers, Request, Response });
markOutput();

process.on("unhandledRejection", (error) => process.stderr.write(`unhandled rejection: ${traceOf(error)}\n`));
process.on("uncaughtException", (error) => {
  const call = running();
  if (call) call.crash(error);
  else process.stderr.write(`uncaught exception: ${traceOf(error)}\n`);
  process.exitCode = 1;
  setImmediate(() => process.exit()); // nobody knows what state it left: but its call may have the reply
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

// watchListen tells later whether anything listened since.
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

// handlerOf finds the handler among what was loaded: the default export of an ES
// module or of what a compiler made of one, or all that CommonJS exports.
function handlerOf(loaded) {
  let value = loaded;
  for (let depth = 0; depth < 2 && typeof value === "object" && value?.default; depth++) value = value.default;
  if (typeof value?.fetch === "function") return (request, context) => value.fetch(request, env, context);
  if (typeof value !== "function") refuse("no handler: export default (request) => new Response() or { fetch(request) { } }");
  if (/^class\b/.test(Function.prototype.toString.call(value))) refuse("a class: export default new App()");
  return value;
}

// refuse ends the process, because of what the default export is.
function refuse(what) {
  process.stderr.write(`the default export is ${what}\n`);
  process.exit(1);
}

function serve(handler) {
  // One trusted client keeps its connections and its own time.
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

// stop takes no new calls, finishes those in flight and what waitUntil was given,
// and ends the process.
async function stop(server) {
  const closed = new Promise((resolve) => server.close(resolve));
  const idle = setInterval(() => server.closeIdleConnections(), 20);
  await closed;
  clearInterval(idle);
  await settled();
  process.exit(0);
}
