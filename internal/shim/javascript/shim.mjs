// The shim: answers calls with the handler exported by FUNCTION, a file that the bundler
// substitutes. They come over one connection to the node, or over HTTP for node:http's form.
//
//   export default (request, context) => "hello"           a function
//   export default { fetch(request, env, context) { } }    the Workers form
//   export const GET = (request) => "hello"                a function per method
//   module.exports = app, or (req, res) => { }             node:http's form
//
// A module that listens on $PORT or $MAYFLY_SOCKET while it is loaded is an ordinary
// program, whatever it exports, and is left alone.

import net from "node:net";
import { settled } from "./call.mjs";
import { handlerOf } from "./form.mjs";
import { Headers } from "./headers.mjs";
import * as http from "./http.mjs";
import { Link } from "./link.mjs";
import { markOutput, running } from "./output.mjs";
import { Request } from "./request.mjs";
import { Response } from "./response.mjs";
import { install } from "./standard.mjs";
import { traceOf } from "./trace.mjs";

// Variables that every process needs are not passed to the handler.
const { PATH, HOME, TMPDIR, PORT, MAYFLY_SOCKET, MAYFLY_LINK, ...env } = process.env;

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

const here = Symbol("here"); // the address that Mayfly calls

begin();

async function begin() {
  const listener = watchListen();
  try {
    const loaded = FUNCTION.endsWith(".mjs") ? await import(FUNCTION) : require(FUNCTION);
    const elsewhere = listener();
    if (elsewhere === here) return;
    const found = await handlerOf(loaded, env);
    if (found === null) leave(elsewhere);
    else if (found.listener) stopAfter(http.serve(MAYFLY_SOCKET, found.listener));
    else serve(found.handler);
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

function serve(handler) {
  if (!MAYFLY_LINK) {
    process.stderr.write("this function was built for a newer Mayfly: MAYFLY_LINK is not set\n");
    process.exit(1);
  }
  const link = new Link(MAYFLY_LINK, (call) => call.answer(handler, env));
  stopAfter(() => link.idle(), () => link.end());
}

// stopAfter makes SIGTERM end the process, after the calls in flight and everything
// passed to waitUntil.
function stopAfter(idle, end = () => process.exit(0)) {
  process.once("SIGTERM", async () => {
    await idle();
    await settled();
    end();
  });
}
