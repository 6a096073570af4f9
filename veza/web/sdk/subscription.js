import { Buffer } from "./buffer.js";
import { listen } from "./listen.js";

/**
 * `for await (const event of chat.events())`: what has no place in a room's order. The oldest are dropped when the
 * consumer is too slow; `dropped` counts them.
 */
export class Subscription {
  #limit;
  #buffer;
  #onClose;

  constructor(limit, onClose) {
    this.#limit = limit;
    this.#buffer = new Buffer(Math.max(2, limit));
    this.#onClose = onClose;
    this.dropped = 0;
  }

  /** The next event, as an iterator gives it. Aborting the signal loses nothing. */
  next({ signal } = {}) {
    return this.#buffer.get(signal);
  }

  [Symbol.asyncIterator]() {
    return { next: () => this.next(), return: async () => ({ done: true, value: undefined }) };
  }

  /** Call `handler` for each event; see `Room.listen`. */
  listen(handler, onEnd) {
    return listen(this, handler, onEnd);
  }

  /** No more events are wanted. */
  close() {
    this.end(null);
    this.#onClose(this);
  }

  // What follows is the chat's side.

  put(event) {
    if (this.#buffer.closed) return;
    if (this.#buffer.length >= this.#limit) {
      this.#buffer.drop();
      this.dropped += 1;
    }
    this.#buffer.put(event);
  }

  end(error) {
    this.#buffer.close(error);
  }
}
