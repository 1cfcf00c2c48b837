// A request's body that comes in pieces. The node may send the next ones only as the
// handler reads.

import { window } from "./frame.mjs";

const step = window / 4; // granted at once: a grant for every small piece would cost more than the piece

export class Pieces {
  #grant;
  #list = [];
  #over = false;
  #error = null;
  #wake = null; // ends a wait for more
  #open = window; // what the node may send
  #read = 0; // what was read and not granted again

  constructor(grant) {
    this.#grant = grant;
  }

  // add takes the next piece. It returns false if it is more than was granted.
  add(piece, over) {
    this.#open -= piece.length;
    this.#over = over;
    if (piece.length > 0) this.#list.push(piece);
    this.#wake?.();
    return this.#open >= 0;
  }

  // fail ends the body: the rest will not come.
  fail(error) {
    if (!this.#over) this.#error ??= error;
    this.#wake?.();
  }

  // next returns the next piece, or null at the end.
  async next() {
    while (this.#list.length === 0 && !this.#over && this.#error === null) await new Promise((resolve) => (this.#wake = resolve));
    if (this.#error !== null) throw this.#error;
    if (this.#list.length === 0) return null;
    const piece = this.#list.shift();
    this.#read += piece.length;
    if (this.#read >= step && !this.#over) {
      this.#open += this.#read;
      this.#grant(this.#read);
      this.#read = 0;
    }
    return piece;
  }

  // all returns the whole body.
  async all() {
    const pieces = [];
    for (let piece; (piece = await this.next()) !== null; ) pieces.push(piece);
    return pieces.length === 1 ? pieces[0] : Buffer.concat(pieces);
  }
}
