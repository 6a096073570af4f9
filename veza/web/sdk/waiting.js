/** Waits that end: with a time limit, a signal, or both. */

/** Resolves after `ms`, or at once when `signal` is aborted: the caller looks at the signal itself. */
export function sleep(ms, signal) {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done);
  });
}

/**
 * Run `work(signal)`, whose signal is aborted with `makeError()` after `ms` (undefined: never), or with the reason
 * of `outer`. `work` must heed it.
 */
export async function within(ms, makeError, outer, work) {
  outer?.throwIfAborted();
  const controller = new AbortController();
  const forward = () => controller.abort(outer.reason);
  outer?.addEventListener("abort", forward);
  const timer = ms === undefined ? undefined : setTimeout(() => controller.abort(makeError()), ms);
  try {
    return await work(controller.signal);
  } finally {
    clearTimeout(timer);
    outer?.removeEventListener("abort", forward);
  }
}

/** A promise with its handles outside. One that fails while nobody waits is no unhandled rejection. */
export class Deferred {
  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    this.promise.catch(() => {});
  }

  /** The promise's outcome, or the signal's reason if that comes first. */
  wait(signal) {
    return abortable(this.promise, signal);
  }
}

/** The outcome of `promise`, or the signal's reason if that comes first. */
export function abortable(promise, signal) {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const aborted = () => reject(signal.reason);
    if (signal.aborted) return aborted();
    signal.addEventListener("abort", aborted);
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", aborted));
  });
}

/** An event that can be waited for, set and cleared. */
export class Flag {
  #deferred = new Deferred();
  #isSet = false;

  get isSet() {
    return this.#isSet;
  }

  set() {
    this.#isSet = true;
    this.#deferred.resolve();
  }

  clear() {
    if (this.#isSet) {
      this.#isSet = false;
      this.#deferred = new Deferred();
    }
  }

  wait(signal) {
    return this.#deferred.wait(signal);
  }
}

/** At most `limit` at once; the others wait in order. */
export class Turns {
  #free;
  #queue = [];

  constructor(limit) {
    this.#free = limit;
  }

  async run(signal, work) {
    if (this.#free > 0) {
      this.#free -= 1;
    } else {
      const turn = new Deferred();
      this.#queue.push(turn);
      try {
        await turn.wait(signal);
      } catch (error) {
        const index = this.#queue.indexOf(turn);
        if (index >= 0) this.#queue.splice(index, 1);
        else this.#next(); // it was our turn already
        throw error;
      }
    }
    try {
      return await work();
    } finally {
      this.#next();
    }
  }

  #next() {
    const turn = this.#queue.shift();
    if (turn) turn.resolve();
    else this.#free += 1;
  }
}

/**
 * The same promise, of which a caller who does not wait may forget the failure: a lost connection must not end a
 * program that only wanted to say that somebody types.
 */
export function quiet(promise) {
  promise.catch(() => {});
  return promise;
}
