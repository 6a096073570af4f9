import { Deferred, Flag, abortable } from "./waiting.js";

/**
 * A queue between the socket and the consumer of one room. Bounded by `limit`, which the producer asks about
 * (`full`, `untilLow`) before it puts.
 *
 * `put` itself never refuses: a page that was asked for at the low-water mark is always taken whole.
 */
export class Buffer {
  #limit;
  #items = [];
  #first = 0;
  #waiting = [];
  #low = new Flag();
  #closed = false;
  #error = null;

  constructor(limit) {
    if (!(limit >= 2)) throw new RangeError("a buffer holds at least 2 events");
    this.#limit = limit;
    this.#low.set();
  }

  get length() {
    return this.#items.length - this.#first;
  }

  get full() {
    return this.length >= this.#limit;
  }

  get closed() {
    return this.#closed;
  }

  put(item) {
    this.#items.push(item);
    if (this.length > this.#limit / 2) this.#low.clear();
    this.#serve();
  }

  /** Forget the oldest item. */
  drop() {
    if (this.length > 0) this.#take();
  }

  /** Wait until at most half of the limit is used, or the buffer is closed. */
  untilLow(signal) {
    return this.#low.wait(signal);
  }

  /**
   * `{done: false, value}` with the oldest item, `{done: true}` after the last one of a closed buffer; rejects with
   * its error if it has one. Nothing is lost when `signal` ends the waiting.
   */
  async get(signal) {
    signal?.throwIfAborted();
    const taker = new Deferred();
    this.#waiting.push(taker);
    this.#serve();
    try {
      return await abortable(taker.promise, signal);
    } catch (error) {
      const index = this.#waiting.indexOf(taker);
      if (index >= 0) this.#waiting.splice(index, 1);
      // An item given in the same turn as the abort is the taker's all the same.
      else if (signal?.aborted) return taker.promise;
      throw error;
    }
  }

  /** No more items come; the first close decides how the consumer's loop ends. */
  close(error = null) {
    if (this.#closed) return;
    this.#closed = true;
    this.#error = error;
    this.#low.set();
    this.#serve();
  }

  #serve() {
    while (this.#waiting.length > 0) {
      if (this.length > 0) this.#waiting.shift().resolve({ done: false, value: this.#take() });
      else if (!this.#closed) return;
      else if (this.#error) this.#waiting.shift().reject(this.#error);
      else this.#waiting.shift().resolve({ done: true, value: undefined });
    }
  }

  #take() {
    const item = this.#items[this.#first];
    this.#items[this.#first] = undefined;
    this.#first += 1;
    if (this.#first > 256 && this.#first * 2 > this.#items.length) {
      this.#items.splice(0, this.#first);
      this.#first = 0;
    }
    if (this.length <= this.#limit / 2) this.#low.set();
    return item;
  }
}
