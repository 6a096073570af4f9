/** Where a reader stands in a room: which events to hand on, which were seen, when to ask the server again. */

/** What to do with one live event. */
export const Verdict = Object.freeze({
  DELIVER: "deliver",
  DUPLICATE: "duplicate",
  WAIT: "wait", // a page that is on its way brings it
  GAP: "gap", // something before it is missing: join again
});

/** The events `from` to `to` are gone from the log. */
export class Gone {
  constructor(from, to) {
    this.from = from;
    this.to = to;
  }
}

/**
 * Lets every event of a room through once, in order of `seq`, without a gap.
 *
 * `lastSeq` is the newest event let through, null until the first page when the reader starts at the room's end.
 * `live` is true while the next live event continues exactly after `lastSeq`. What arrives while it is not live is
 * not kept, only remembered as the head: the log has it, so memory stays small.
 */
export class RoomCursor {
  #head = 0;

  constructor(lastSeq = null) {
    if (lastSeq !== null && !(Number.isSafeInteger(lastSeq) && lastSeq >= 0)) {
      throw new RangeError("lastSeq is a whole number, at least 0");
    }
    this.lastSeq = lastSeq;
    this.live = false;
  }

  /** The connection is gone or the reader is too slow: only a page continues from here. */
  suspend() {
    this.live = false;
  }

  /** Decide on a live event. */
  event(seq) {
    this.#head = Math.max(this.#head, seq);
    if (this.lastSeq !== null && seq <= this.lastSeq) return Verdict.DUPLICATE;
    if (!this.live) return Verdict.WAIT;
    if (seq !== this.lastSeq + 1) {
      this.live = false;
      return Verdict.GAP;
    }
    this.lastSeq = seq;
    return Verdict.DELIVER;
  }

  /** A live event could not be taken; the log brings it back. */
  missed(seq) {
    this.#head = Math.max(this.#head, seq);
    this.live = false;
  }

  /**
   * Take a page of `join_room`, whose events have a `seq`; return those that are new, in order.
   *
   * `head` is the room's newest seq, by the reply. Afterwards `live` says whether live events follow; when false
   * another page must be asked for, after the present `lastSeq`. What lies before `firstSeq` and is not in the page
   * is gone from the log for ever: a `Gone` stands in its place.
   */
  page(events, head, hasMore, firstSeq = 1) {
    // Joined at the end: what came before is not ours to deliver.
    this.lastSeq ??= head;
    const fresh = [];
    for (const event of [...events].sort((one, other) => one.seq - other.seq)) {
      this.#head = Math.max(this.#head, event.seq);
      // The bound may be younger than the page, and then says of events in it that they are gone.
      this.#stepOver(Math.min(firstSeq, event.seq), fresh);
      if (event.seq === this.lastSeq + 1) {
        this.lastSeq = event.seq;
        fresh.push(event);
      }
    }
    // Nothing can be gone that never was.
    this.#stepOver(Math.min(firstSeq, Math.max(head, this.#head) + 1), fresh);
    if (!hasMore) this.#head = Math.max(this.#head, head);
    this.live = !hasMore && this.lastSeq >= this.#head;
    return fresh;
  }

  /** What comes before `end` and was not let through is gone. */
  #stepOver(end, fresh) {
    const from = this.lastSeq + 1;
    if (from >= end) return;
    this.lastSeq = end - 1;
    fresh.push(new Gone(from, this.lastSeq));
  }
}
