/**
 * Exponential with full jitter: the n-th delay is uniform between 0 and `min(capMs, baseMs * 2**n)` milliseconds.
 *
 * Full jitter, because clients cut off together must not come back together. `chance` gives a number in [0, 1),
 * as `Math.random` does.
 */
export class Backoff {
  #chance;
  #baseMs;
  #capMs;
  #ceiling;

  constructor(chance, { baseMs = 500, capMs = 30_000 } = {}) {
    if (!(baseMs > 0) || capMs < baseMs) throw new RangeError("baseMs must be positive and capMs at least baseMs");
    this.#chance = chance;
    this.#baseMs = baseMs;
    this.#capMs = capMs;
    this.#ceiling = baseMs;
  }

  /** The next delay in milliseconds. */
  next() {
    const delay = this.#chance() * this.#ceiling;
    this.#ceiling = Math.min(this.#capMs, this.#ceiling * 2);
    return delay;
  }

  /** Start over, after an attempt that went well. */
  reset() {
    this.#ceiling = this.#baseMs;
  }
}
