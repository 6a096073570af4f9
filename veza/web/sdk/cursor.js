/** Where a reader stands in a room, or a viewer in a stream: what to hand on, what was seen, when to ask again. */

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

// As many as the server shows whoever comes: of older messages it does not say whether they are still there.
const REMEMBERED = 50;

/**
 * Lets every message of a stream through at most once, in order of `seq`.
 *
 * `lastSeq` is the newest let through, null until the first answer. `live` is true while the connection watches. Who
 * watches is not promised all: gaps between live messages are passed over, and the server counts them.
 */
export class StreamCursor {
  // The ids of the last messages let through, with their seq.
  #shown = new Map();

  constructor(lastSeq = null) {
    if (lastSeq !== null && !(Number.isSafeInteger(lastSeq) && lastSeq >= 0)) {
      throw new RangeError("lastSeq is a whole number, at least 0");
    }
    this.lastSeq = lastSeq;
    this.live = false;
  }

  /** The connection is gone: only the last messages continue from here. */
  suspend() {
    this.live = false;
  }

  /** Whether to hand on a live message. While not `live`, the answer that is on its way has it. */
  message(seq, id) {
    if (!this.live || seq <= this.lastSeq) return false;
    this.#show(seq, id);
    return true;
  }

  /** It is known to be gone. */
  deleted(id) {
    this.#shown.delete(id);
  }

  /**
   * Take the last messages, which have a `seq` and an `id`: the connection watches from here on. What they tell whoever
   * was away: `fresh` are new, in order, after `skipped` others that cannot be had here; `deleted` are the ids of those
   * that were shown and are gone.
   */
  recent(messages) {
    this.live = true;
    const ordered = [...messages].sort((one, other) => one.seq - other.seq);
    // Nothing is known of what came before the oldest; of what follows it, that what is missing is deleted.
    const oldest = ordered[0]?.seq ?? null;
    const stillThere = new Set(ordered.map((message) => message.id));
    const deleted = [];
    for (const [id, seq] of this.#shown) {
      if (oldest !== null && seq >= oldest && !stillThere.has(id)) deleted.push(id);
    }
    for (const id of deleted) this.deleted(id);
    const skipped = this.lastSeq === null || oldest === null ? 0 : Math.max(0, oldest - this.lastSeq - 1);
    this.lastSeq ??= 0;
    const fresh = ordered.filter((message) => message.seq > this.lastSeq);
    for (const { seq, id } of fresh) this.#show(seq, id);
    return { skipped, fresh, deleted };
  }

  #show(seq, id) {
    this.lastSeq = seq;
    this.#shown.set(id, seq);
    if (this.#shown.size > REMEMBERED) this.#shown.delete(this.#shown.keys().next().value);
  }
}
