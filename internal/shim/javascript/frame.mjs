// Frames, as docs/frames.md describes them.

export const preface = "MFL\x01";
export const headerSize = 12;

export const HEAD = 1;
export const DATA = 2;
export const ERROR = 3;
export const CREDIT = 4;
export const CANCEL = 5;

export const maxBody = 65536; // in one frame
export const maxHead = 65535;
export const window = 131072; // how much of a body may be sent before more is granted

// writeHeader writes the header of a frame.
export function writeHeader(b, at, length, number, kind, end, head) {
  b[at] = length >>> 24;
  b[at + 1] = length >>> 16;
  b[at + 2] = length >>> 8;
  b[at + 3] = length;
  b[at + 4] = number >>> 24;
  b[at + 5] = number >>> 16;
  b[at + 6] = number >>> 8;
  b[at + 7] = number;
  b[at + 8] = kind;
  b[at + 9] = end ? 1 : 0;
  b[at + 10] = head >>> 8;
  b[at + 11] = head;
}

export function uint32(b, at) {
  return ((b[at] << 24) | (b[at + 1] << 16) | (b[at + 2] << 8) | b[at + 3]) >>> 0;
}

// faultOf returns why there is no such frame, or "".
export function faultOf(length, number, kind, flags, head) {
  if (number === 0) return "a frame without a call";
  if (kind === 0 || kind > CANCEL) return `a frame of the unknown kind ${kind}`;
  if (flags > 1) return `a frame with the unknown flags ${flags}`;
  if (head > length || length - head > maxBody) return `a frame of ${length} bytes, ${head} of them head`;
  if (head > 0 && kind !== HEAD && kind !== ERROR) return `a frame of kind ${kind} with a head`;
  if ((kind === CREDIT && length !== 4) || (kind === CANCEL && length !== 0)) return `a frame of kind ${kind} with ${length} bytes`;
  return "";
}
