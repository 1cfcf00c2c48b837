// The connection to the node, which carries all calls at once as frames: docs/frames.md.

import net from "node:net";
import { Call } from "./call.mjs";
import { CREDIT, DATA, HEAD, faultOf, headerSize, preface, uint32, window, writeHeader } from "./frame.mjs";
import { runAs } from "./output.mjs";

const readSize = 65536;
const writeSize = 2 * window; // more than half of it is written at once

export class Link {
  #socket;
  #answer;
  #calls = new Map(); // those that are not over
  #greeted = false;
  #held = null; // the beginning of a frame whose rest has not come
  #heldSize = 0;
  #out = Buffer.allocUnsafeSlow(writeSize); // what is written next
  #outSize = 0;
  #reading = false; // inside a read event, which writes at its end
  #tick = 0; // of the clock, when the last write was made
  #planned = false;
  #idle = null; // called when no call is in flight
  #ending = false;

  // A Link passes each call to answer. When the connection ends, so does the process.
  constructor(path, answer) {
    this.#answer = answer;
    this.#socket = new net.Socket({ onread: { buffer: Buffer.allocUnsafeSlow(readSize), callback: (size, buffer) => this.#read(size, buffer) } });
    this.#socket.on("connect", () => this.#socket.write(preface));
    this.#socket.on("error", (error) => this.#greeted || process.stderr.write(`cannot connect to the node: ${error.message}\n`));
    this.#socket.on("close", () => process.exit(this.#ending ? 0 : 1));
    this.#socket.connect(path);
    process.on("exit", () => this.#flush());
  }

  // idle returns a promise that settles when no call is in flight.
  idle() {
    return new Promise((resolve) => {
      if (this.#calls.size === 0) resolve();
      else this.#idle = resolve;
    });
  }

  // end writes what is left and ends the process.
  end() {
    this.#ending = true;
    this.#socket.end(this.#out.subarray(0, this.#outSize), () => process.exit(0));
    this.#outSize = 0;
  }

  // over forgets a call.
  over(number) {
    this.#calls.delete(number);
    if (this.#calls.size === 0 && this.#idle !== null) this.#idle();
  }

  // send sends a frame. The head is bytes or Latin-1 text, the body bytes or UTF-8 text
  // of at most maxBody bytes.
  send(number, kind, head, body, end) {
    const most = typeof body === "string" ? body.length * 3 : body.length;
    this.#reserve(headerSize + head.length + most);
    const out = this.#out;
    const start = this.#outSize;
    let at = start + headerSize;
    if (typeof head === "string") at += head === "" ? 0 : out.write(head, at, "latin1");
    else at = copy(out, at, head);
    if (typeof body === "string") at += body === "" ? 0 : out.write(body, at);
    else at = copy(out, at, body);
    writeHeader(out, start, at - start - headerSize, number, kind, end, head.length);
    this.#sent(at);
  }

  // grant lets the node send more of a call's body.
  grant(number, size) {
    this.#reserve(headerSize + 4);
    writeHeader(this.#out, this.#outSize, 4, number, CREDIT, false, 0);
    this.#out.writeUInt32BE(size, this.#outSize + headerSize);
    this.#sent(this.#outSize + headerSize + 4);
  }

  // violated ends the process: the node, or this shim, does not keep to the protocol.
  violated(what) {
    process.stderr.write(`the node sent ${what}\n`);
    process.exit(1);
  }

  #read(size, buffer) {
    if (this.#held !== null) {
      this.#hold(buffer, 0, size);
      buffer = this.#held;
      size = this.#heldSize;
    }
    this.#reading = true;
    const end = this.#parse(buffer, size);
    this.#reading = false;
    if (this.#outSize > 0) this.#flush();
    if (buffer === this.#held) {
      if (end === size) this.#held = null;
      else buffer.copyWithin(0, end, size);
      this.#heldSize = size - end;
    } else if (end < size) {
      this.#hold(buffer, end, size);
    }
  }

  // hold keeps what came until the rest of its frame comes.
  #hold(buffer, from, to) {
    const size = this.#heldSize + to - from;
    if (this.#held === null || size > this.#held.length) {
      const held = Buffer.allocUnsafeSlow(2 * Math.max(size, readSize));
      if (this.#held !== null) held.set(this.#held.subarray(0, this.#heldSize));
      this.#held = held;
    }
    this.#held.set(buffer.subarray(from, to), this.#heldSize);
    this.#heldSize = size;
  }

  // parse takes the frames in a buffer, and returns where the first one begins that is
  // not whole.
  #parse(b, size) {
    let at = 0;
    if (!this.#greeted) {
      if (size < preface.length) return 0;
      at = preface.length;
      if (b.toString("latin1", 0, at) !== preface) this.violated("another version of frames than 1");
      this.#greeted = true;
    }
    while (at + headerSize <= size) {
      const length = uint32(b, at);
      const number = uint32(b, at + 4);
      const kind = b[at + 8];
      const end = b[at + 9];
      const head = (b[at + 10] << 8) | b[at + 11];
      const fault = faultOf(length, number, kind, end, head);
      if (fault !== "") this.violated(fault);
      const from = at + headerSize;
      const to = from + length;
      if (to > size) break;
      if (kind === HEAD) this.#begin(number, b, from, from + head, to, end === 1);
      else this.#more(this.#calls.get(number), kind, b, from + head, to, end === 1);
      at = to;
    }
    return at;
  }

  #begin(number, b, from, body, to, whole) {
    if (this.#calls.has(number)) this.violated(`call ${number} twice`);
    const call = new Call(this, number, b.toString("latin1", from, body), b, body, to, whole);
    this.#calls.set(number, call);
    runAs(call, this.#answer);
    call.keep();
    if (this.#outSize === 0) return;
    const tick = Date.now();
    if (tick !== this.#tick) this.#flush(); // no reply waits for slow neighbors
    this.#tick = tick;
  }

  #more(call, kind, b, from, to, end) {
    if (call === undefined) return;
    if (kind === DATA) call.receive(b, from, to, end);
    else if (kind === CREDIT) call.granted(uint32(b, from));
    else call.leave(); // the client has left, or cannot send the rest of its request
  }

  #reserve(size) {
    const needed = this.#outSize + size;
    if (needed <= this.#out.length) return;
    const out = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.#out.length));
    out.set(this.#out.subarray(0, this.#outSize));
    this.#out = out;
  }

  // sent plans a write. What is sent until all code that can run now has run goes with it.
  #sent(size) {
    this.#outSize = size;
    if (size > window) return this.#flush();
    if (this.#reading || this.#planned) return;
    this.#planned = true;
    process.nextTick(this.#flush);
  }

  // flush writes, unless a write is under way. Then what is sent meanwhile goes with the next.
  #flush = () => {
    this.#planned = false;
    if (this.#outSize === 0 || this.#ending || this.#socket.writableLength > 0) return;
    const out = this.#out;
    const size = this.#outSize;
    this.#outSize = 0;
    this.#socket.write(out.subarray(0, size), this.#flush);
    const free = this.#socket.writableLength === 0; // the kernel has it all
    if (!free || out.length > writeSize) this.#out = Buffer.allocUnsafeSlow(writeSize);
  };
}

// copy writes bytes into a buffer, and returns where they end.
function copy(to, at, bytes) {
  to.set(bytes, at);
  return at + bytes.length;
}
