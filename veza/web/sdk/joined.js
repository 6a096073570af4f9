import { Backoff } from "./backoff.js";
import { ClientError, CommandTimeout, ConnectionLost, ProtocolError } from "./errors.js";
import { Room } from "./room.js";
import { Turns, sleep, within } from "./waiting.js";
import { isDurable } from "./wire.js";

// Many rooms come back at once after a cut; the server need not answer them all in one breath.
const JOINS_AT_ONCE = 16;

/** The rooms of a chat: joined on each connection, and fed with what arrives. */
export class JoinedRooms {
  #chat;
  #buffer;
  #patienceMs;
  #chance;
  #rooms = new Map();
  // The rooms that are being joined on the present connection.
  #syncing = new Set();
  #connection = null;
  #turns = new Turns(JOINS_AT_ONCE);

  constructor(chat, { buffer, patienceMs, chance }) {
    this.#chat = chat;
    this.#buffer = buffer;
    this.#patienceMs = patienceMs;
    this.#chance = chance;
  }

  async join(roomId, lastSeq, signal) {
    let room = this.#rooms.get(roomId);
    const ours = !room?.open;
    if (ours) {
      this.#chat.requireOpen();
      room = new Room(this.#chat, roomId, lastSeq, this.#buffer);
      this.#rooms.set(roomId, room);
      this.#sync(room);
    } else if (lastSeq !== null) {
      throw new RangeError("the room is open already: leave it before joining at another place");
    }
    const late = () => new CommandTimeout("The room did not answer in time.");
    try {
      await within(this.#patienceMs, late, signal, (limit) => room.joined(limit));
    } finally {
      if (ours && !room.settled) this.forget(room); // timed out or given up: nobody has it
    }
    if (!room.open) this.#chat.requireOpen();
    return room;
  }

  /** Let go of a room; false when that was done before. */
  forget(room) {
    room.end();
    return this.#rooms.get(room.id) === room && this.#rooms.delete(room.id);
  }

  /** There is a connection: every room continues on it. */
  resume() {
    this.#connection = new AbortController();
    this.#syncing = new Set();
    for (const room of this.#rooms.values()) {
      if (room.open) this.#sync(room);
      else this.#rooms.delete(room.id);
    }
  }

  /** The connection is gone. */
  suspend() {
    this.#connection?.abort(new ConnectionLost("The connection was cut before the answer."));
    this.#connection = null;
    for (const room of this.#rooms.values()) room.suspend();
  }

  end(error) {
    for (const room of this.#rooms.values()) room.end(error);
    this.#rooms.clear();
  }

  /** A frame that is no reply; false when it has no place in a room's order. */
  take(frame) {
    if (!isDurable(frame)) return false;
    const room = this.#rooms.get(frame.room_id);
    if (room?.open && room.take(frame)) this.#sync(room);
    else if (room?.open === false) this.#rooms.delete(room.id);
    return true;
  }

  /** Have the room joined on the present connection, if that is not under way. */
  #sync(room) {
    const syncing = this.#syncing;
    if (this.#connection === null || syncing.has(room)) return;
    syncing.add(room);
    this.#joinPages(room, this.#connection.signal, () => syncing.delete(room)).catch((bug) => this.#chat.failed(bug));
  }

  /** `done` runs in the same turn in which the room was seen to be live: whatever comes later syncs it anew. */
  async #joinPages(room, signal, done) {
    const backoff = new Backoff(this.#chance, { baseMs: 100 });
    try {
      while (room.open && !room.live && !signal.aborted) await this.#joinOnce(room, backoff, signal);
    } finally {
      done();
    }
  }

  async #joinOnce(room, backoff, signal) {
    try {
      await room.untilLow(signal);
      await this.#turns.run(signal, () => this.#joinPage(room, signal));
      if (room.stuck) room.end(new ProtocolError("The server announces events that it does not give."));
      else if (!room.progressing) await sleep(backoff.next(), signal);
    } catch (error) {
      if (!(error instanceof ClientError)) throw error;
      if (signal.aborted) return; // the next connection joins anew
      if (error.retryable) await sleep(Math.max((error.retryAfter ?? 0) * 1000, backoff.next()), signal);
      else room.end(error);
    }
  }

  #joinPage(room, signal) {
    return this.#chat.request("join_room", room.joinArguments, { onReply: (data) => room.takePage(data), signal });
  }
}
