import { Buffer } from "./buffer.js";
import { Gone, RoomCursor, Verdict } from "./cursor.js";
import { listen } from "./listen.js";
import { RoomCommands } from "./commands.js";
import { Deferred, quiet } from "./waiting.js";
import { durable, readPage } from "./wire.js";

// At most so many pages in a row may bring nothing although the room has more.
const MOST_IDLE_PAGES = 8;

/**
 * `for await (const event of room)` gives the durable events in order of `seq`, without a gap or a repeat.
 *
 * Where the room's retention has taken events before this reader got them, `events_expired` stands in their place.
 * One consumer a room. The iteration ends when the room is left or deleted, this account is out of it, or the chat
 * is closed; it throws what ended it otherwise (`SessionEnded`, `NotFound` after a removal while away, …).
 */
export class Room extends RoomCommands {
  #chat;
  #cursor;
  #buffer;
  #consumed;
  #idlePages = 0;
  #firstSeq = 1;
  #recovered = true;
  #settled = false;
  #firstPage = new Deferred();

  constructor(chat, id, lastSeq, buffer) {
    super(chat, id);
    this.#chat = chat;
    this.#cursor = new RoomCursor(lastSeq);
    this.#buffer = new Buffer(buffer);
    this.#consumed = lastSeq;
  }

  /** The seq up to which the consumer has been served: give it to `join` to continue another time. */
  get lastSeq() {
    return this.#consumed;
  }

  /** Events received and not yet consumed. */
  get backlog() {
    return this.#buffer.length;
  }

  /** Whether new events come as they happen; false while the room catches up. */
  get live() {
    return this.#cursor.live;
  }

  /** The lowest seq that the room's retention had kept at the last join. */
  get firstSeq() {
    return this.#firstSeq;
  }

  /** Whether this reader has been given everything since where it began; false after an `events_expired`. */
  get recovered() {
    return this.#recovered;
  }

  /** The next event, as an iterator gives it. Aborting the signal loses nothing. */
  next({ signal } = {}) {
    return quiet(this.#next(signal));
  }

  async #next(signal) {
    const found = await this.#buffer.get(signal);
    if (!found.done) this.#consumed = found.value.seq;
    return found;
  }

  [Symbol.asyncIterator]() {
    return { next: () => this.#next(), return: async () => ({ done: true, value: undefined }) };
  }

  /**
   * Call `handler(event)` for each event, one after another: a promise it returns is waited for. `onEnd` is called
   * once, with the error that ended the room or null. Returns a function that stops it.
   */
  listen(handler, onEnd) {
    return listen(this, handler, onEnd);
  }

  /** Stop the events; the membership stays. What was received can still be consumed. */
  leave() {
    return quiet(this.#chat.leave(this));
  }

  // What follows is the chat's side.

  get open() {
    return !this.#buffer.closed;
  }

  /** The pages bring nothing although the room has more: the server contradicts itself. */
  get stuck() {
    return this.#idlePages >= MOST_IDLE_PAGES;
  }

  get progressing() {
    return this.#idlePages === 0;
  }

  get joinArguments() {
    return { room_id: this.id, last_seq: this.#cursor.lastSeq };
  }

  /** The connection is gone. */
  suspend() {
    this.#cursor.suspend();
  }

  /** Wait for the first page; rejects with what prevented it. */
  joined(signal) {
    return this.#firstPage.wait(signal);
  }

  /** Whether the first page came, or the room ended without. */
  get settled() {
    return this.#settled;
  }

  /** Wait until a whole page may be asked for. */
  untilLow(signal) {
    return this.#buffer.untilLow(signal);
  }

  /** A live event; true when the room must be joined again because one is missing. */
  take(frame) {
    if (this.#cursor.live && this.#buffer.full) {
      // A socket cannot be paused: what does not fit is read from the log later.
      this.#cursor.missed(frame.seq);
      return true;
    }
    const verdict = this.#cursor.event(frame.seq);
    if (verdict === Verdict.DELIVER) {
      const event = durable(frame, this.id);
      this.#deliver(event);
      // Only when live: in a page it may lie before a later return.
      if (event.type === "member_left" && event.user?.id === this.#chat.userId) this.end();
    }
    return verdict === Verdict.GAP;
  }

  /** The data of the reply to a join. Throws `ProtocolError`. */
  takePage(data) {
    const page = readPage(data);
    const before = this.#cursor.lastSeq;
    this.#firstSeq = page.firstSeq;
    for (const item of this.#cursor.page(page.events, page.seq, page.hasMore, page.firstSeq)) {
      if (item instanceof Gone) this.#miss(item);
      else this.#deliver(durable(item, this.id));
    }
    this.#consumed ??= this.#cursor.lastSeq;
    const progressed = this.#cursor.live || this.#cursor.lastSeq !== before;
    this.#idlePages = progressed ? 0 : this.#idlePages + 1;
    this.#settle(null);
  }

  /** No more events; `error` is what the consumer is told after the last one. */
  end(error = null) {
    if (!this.open) return;
    this.#cursor.suspend();
    this.#buffer.close(error);
    this.#settle(error);
  }

  #settle(error) {
    this.#settled = true;
    if (error) this.#firstPage.reject(error);
    else this.#firstPage.resolve();
  }

  #miss({ from, to }) {
    this.#recovered = false;
    this.#deliver({ type: "events_expired", roomId: this.id, fromSeq: from, seq: to });
  }

  #deliver(event) {
    if (!this.open) return;
    this.#buffer.put(event);
    if (event.type === "room_deleted") this.end();
  }
}
