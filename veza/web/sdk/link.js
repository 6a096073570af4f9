import { ConnectionLost, InvalidArgument, ProtocolError, Unavailable } from "./errors.js";
import { closingError, wireRefusal } from "./refusals.js";
import { Deferred } from "./waiting.js";
import { given, readFrame } from "./wire.js";

const SUBPROTOCOL = "veza.v1";
const OPEN = 1;
const MOST_WAITING = 4096;
const FRAME_BYTES = 65_536;
// Browsers cannot send WebSocket pings, so silence is broken by a command: a dead peer is noticed in 20 s.
const SILENCE_MS = 10_000;
const ANSWER_MS = 10_000;
// How long a peer may take to confirm the close.
const CLOSE_MS = 2_000;

/**
 * One connection, from its opening to its end: commands out, replies matched, everything else to `onFrame`.
 *
 * `onWelcome(link)` runs at the first frame, before any other is looked at. `ended` resolves with the error that
 * says why the connection is over.
 */
export class Link {
  #socket;
  #onWelcome;
  #onFrame;
  #pending = new Map();
  #issued = 0;
  #over = null;
  #ended = new Deferred();
  #closed = new Deferred();
  #heardAt = Date.now();
  #watch;

  constructor({ url, WebSocket, timeoutMs, onWelcome, onFrame }) {
    this.welcome = null;
    this.welcomedAt = null;
    this.#onWelcome = onWelcome;
    this.#onFrame = onFrame;
    this.#socket = new WebSocket(url, [SUBPROTOCOL]);
    this.#socket.onmessage = (event) => this.#message(event.data);
    // What went wrong is not told to scripts; the close that follows is.
    this.#socket.onerror = () => this.end(new ConnectionLost("The server cannot be reached."));
    this.#socket.onclose = (event) => {
      this.end(closingError(event.code || 1006, event.reason));
      this.#closed.resolve();
    };
    this.#watch = setTimeout(
      () => this.end(new ConnectionLost("The server did not complete the connection in time.")),
      timeoutMs,
    );
  }

  /** Resolves with a `ClientError`. */
  get ended() {
    return this.#ended.promise;
  }

  /** Commands that wait for their reply. */
  get waiting() {
    return this.#pending.size;
  }

  /**
   * Send a command; resolves with the reply's data as it came. Rejects with the server's refusal, `ConnectionLost`,
   * or the reason of `signal`. `onReply` runs before anything that follows the reply on the wire is looked at.
   */
  call(command, args, { onReply, signal } = {}) {
    const waiter = new Deferred();
    const id = String((this.#issued += 1));
    try {
      if (this.#over) throw this.#over;
      signal?.throwIfAborted();
      if (this.#pending.size >= MOST_WAITING) {
        throw new Unavailable(`${MOST_WAITING} commands wait for their reply.`);
      }
      const text = JSON.stringify({ type: command, id, ...given(args) });
      // The server would cut the connection, and again at each retry.
      if (new TextEncoder().encode(text).length > (this.welcome?.limits?.frame_bytes ?? FRAME_BYTES)) {
        throw new InvalidArgument("The command is larger than the server takes.", { code: "frame_too_big" });
      }
      this.#pending.set(id, { waiter, onReply });
      this.#send(text);
    } catch (error) {
      this.#pending.delete(id);
      waiter.reject(error);
    }
    return waiter.wait(signal).finally(() => this.#pending.delete(id));
  }

  /** The connection is over, for this reason: everyone who waits learns it. The first reason counts. */
  end(error) {
    if (this.#over) return;
    this.#over = error;
    clearTimeout(this.#watch);
    for (const { waiter } of this.#pending.values()) waiter.reject(error);
    this.#pending.clear();
    this.#ended.resolve(error);
    try {
      this.#socket.close(1000);
    } catch {
      this.#closed.resolve(); // a socket that never opened may not be closed, in some implementations
    }
  }

  /** Wait until the socket is closed, for as long as one may wait for the peer. */
  async closed() {
    let timer;
    const late = new Promise((resolve) => {
      timer = setTimeout(resolve, CLOSE_MS);
    });
    await Promise.race([this.#closed.promise, late]);
    clearTimeout(timer);
  }

  #send(text) {
    if (this.#socket.readyState !== OPEN) throw new ConnectionLost("The connection was cut before the answer.");
    this.#socket.send(text);
  }

  #message(data) {
    if (this.#over) return;
    this.#heardAt = Date.now();
    try {
      const frame = readFrame(data);
      if (this.welcome === null) this.#first(frame);
      else if (frame.type === "reply" || frame.type === "error") this.#settle(frame);
      else this.#onFrame(frame);
    } catch (error) {
      const known = error instanceof ProtocolError;
      this.end(known ? error : new ProtocolError("A frame broke the client.", { cause: error }));
    }
  }

  #first(frame) {
    if (frame.type === "error" && frame.error) return this.end(wireRefusal(frame.error));
    if (frame.type !== "welcome") throw new ProtocolError(`The server began with a frame of type "${frame.type}".`);
    this.welcome = frame;
    this.welcomedAt = Date.now();
    clearTimeout(this.#watch);
    this.#watch = setTimeout(() => this.#listen(), SILENCE_MS);
    this.#onWelcome(this);
  }

  #settle(frame) {
    const entry = this.#pending.get(frame.id);
    if (entry === undefined) {
      // Of a command that was given up, or a complaint about none.
      if (frame.error && (frame.id ?? null) === null) console.warn("veza: the server complains:", frame.error.message);
      return;
    }
    this.#pending.delete(frame.id);
    if (frame.type === "error") {
      entry.waiter.reject(wireRefusal(frame.error ?? { code: "INTERNAL", message: "The server refused." }));
      return;
    }
    try {
      entry.onReply?.(frame.data);
    } catch (error) {
      entry.waiter.reject(error);
      if (!(error instanceof ProtocolError)) throw error;
      return;
    }
    entry.waiter.resolve(frame.data);
  }

  /** Nothing came for a while, or something did: find out which, and whether the peer still lives. */
  #listen() {
    const silence = Date.now() - this.#heardAt;
    if (silence < SILENCE_MS) {
      this.#watch = setTimeout(() => this.#listen(), SILENCE_MS - silence);
      return;
    }
    this.call("ping", {}).catch(() => {});
    const asked = this.#heardAt;
    this.#watch = setTimeout(() => {
      if (this.#heardAt === asked) this.end(new ConnectionLost("The server went silent."));
      else this.#listen();
    }, ANSWER_MS);
  }
}
