// The shim: serves HTTP on Mayfly's socket with the handler exported by FUNCTION, a
// file that the bundler substitutes.
//
//   export default (request, context) => "hello"           a function
//   export default { fetch(request, env, context) { } }    the Workers form
//   export const GET = (request) => "hello"                a function per method
//   module.exports = app, or (req, res) => { }             node:http's form
//
// A module that listens on $PORT or $MAYFLY_SOCKET while it is loaded is an ordinary
// program, whatever it exports, and is left alone.

import http from "node:http";
import net from "node:net";
import { Call, settled } from "./call.mjs";
import { answerOf } from "./form.mjs";
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
const here = Symbol("here"); // the address that Mayfly calls

begin();

async function begin() {
  const listener = watchListen();
  try {
    const loaded = FUNCTION.endsWith(".mjs") ? await import(FUNCTION) : require(FUNCTION);
    const elsewhere = listener();
    if (elsewhere === here) return;
    const answer = await answerOf(loaded, env);
    if (answer !== null) serve(answer);
    else leave(elsewhere);
  } catch (error) {
    process.stderr.write(traceOf(error) + "\n");
    process.exit(1);
  }
}

// watchListen returns a function that returns what has listened since: here if it was
// where Mayfly calls, else another address, or undefined.
function watchListen() {
  const { listen } = net.Server.prototype;
  let listened;
  net.Server.prototype.listen = function (...args) {
    const address = args[0]?.path ?? args[0]?.port ?? args[0];
    if (address === MAYFLY_SOCKET || `${address}` === PORT) listened = here;
    else listened ??= address;
    return listen.apply(this, args);
  };
  return () => {
    net.Server.prototype.listen = listen;
    return listened;
  };
}

// leave runs a module without a handler as a program, which may listen later, unless
// there is nothing left to run.
function leave(elsewhere) {
  if (elsewhere !== undefined) process.stderr.write(`listening on ${elsewhere}, but Mayfly expects process.env.PORT\n`);
  process.once("beforeExit", () => {
    process.stderr.write("no handler: export default (request) => new Response() or { fetch(request) { } }\n");
    process.exit(1);
  });
}

function serve(answer) {
  // The only client is trusted; it keeps its own connections and timeouts.
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
  server.on("clientError", reject);
  server.listen(MAYFLY_SOCKET);
  process.once("SIGTERM", () => stop(server));
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
