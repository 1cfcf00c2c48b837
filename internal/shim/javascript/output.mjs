// Marks every line of output with its call: the mark, the call's id, the mark again,
// then the line. Only this process knows which call is writing.

import { AsyncLocalStorage } from "node:async_hooks";

// Following a call through promises and timers costs a fifth of the calls per second.
// So it starts at the first write: a function that never logs never pays. Lines of
// calls that were already waiting then have no mark.
const followed = new AsyncLocalStorage();
let follow = false;
let current = null; // the call whose handler runs right now, until calls are followed

// runAs runs code on behalf of a call.
export function runAs(call, code) {
  if (follow) return followed.run(call, code, call);
  current = call;
  try {
    code(call);
  } finally {
    current = null;
  }
}

// running returns the call that the current code works for, if known.
export function running() {
  return followed.getStore() ?? current;
}

const mark = "\x1e";

// markOutput starts marking stdout and stderr at their first use: opening them takes
// milliseconds.
export function markOutput() {
  for (const name of ["stdout", "stderr"]) {
    const { get, enumerable } = Object.getOwnPropertyDescriptor(process, name);
    const open = () => {
      const stream = markLines(get.call(process));
      Object.defineProperty(process, name, { value: stream, configurable: true, enumerable });
      return stream;
    };
    Object.defineProperty(process, name, { get: open, configurable: true, enumerable });
  }
}

function markLines(stream) {
  const write = stream.write;
  let unfinished = null; // the call whose line has not ended
  stream.write = (chunk, encoding, done) => {
    if (!follow) { // not on opening: node:net opens it whenever a socket closes
      follow = true;
      if (current) followed.enterWith(current);
    }
    const id = running()?.id ?? "";
    if (id === "" && unfinished === null && chunk.length > 0) {
      unfinished = endsLine(chunk) ? null : id;
      return write.call(stream, chunk, encoding, done);
    }
    if (typeof encoding === "function") [encoding, done] = [undefined, encoding];
    const text = typeof chunk === "string" ? Buffer.from(chunk, encoding).toString("latin1") : Buffer.from(chunk).toString("latin1");
    if (text === "") return write.call(stream, text, done);
    const prefix = id && mark + id + mark;
    const before = unfinished === null ? prefix : unfinished === id ? "" : "\n" + prefix;
    unfinished = endsLine(text) ? null : id;
    return write.call(stream, before + text.replace(/\n(?!$)/g, "\n" + prefix), "latin1", done);
  };
  return stream;
}

function endsLine(chunk) {
  const last = chunk[chunk.length - 1];
  return last === "\n" || last === 10;
}
