import { Backoff } from "./backoff.js";
import { ChatClosed, ClientError, CommandTimeout, ConnectionLost, Unavailable } from "./errors.js";
import { JoinedRooms } from "./joined.js";
import { Link } from "./link.js";
import { Subscription } from "./subscription.js";
import { Flag, quiet, sleep, within } from "./waiting.js";
import { WatchedStreams } from "./watched.js";
import { camel, socketUrl, transient } from "./wire.js";

// A connection that lived so long was a good one: the next failure starts the backoff anew.
const GOOD_CONNECTION_MS = 10_000;
const LONGEST_AFTER_MS = 60_000;
// People wait for a chat: the longest delay between two attempts.
const LONGEST_BACKOFF_MS = 10_000;
const ASK_MS = 30_000;

/**
 * One socket for all rooms and live streams; `await veza.connect()` makes it.
 *
 * It comes back by itself after any cut, with full jitter, and each of them continues where it stood. Options:
 * `patienceMs` bounds the wait for the first connection and for a join, `commandTimeoutMs` one try of a command.
 * `buffer` is how many events a room holds for its consumer; beyond, the room drops what comes and reads it from the
 * server's log when the consumer has caught up: nothing is lost, memory is bounded. A stream holds as many and drops
 * its oldest. `presence` is how others see this account, from the first connection on. `chatToken` is null for a socket
 * that is anonymous, and can only watch streams.
 */
export class Chat {
  #baseUrl;
  #chatToken;
  #calls;
  #WebSocket;
  #chance;
  #commandTimeoutMs;
  #rooms;
  #streams;
  #presence;
  #onEnd;
  #subscriptions = new Set();
  #link = null;
  #lastError = null;
  // Why there will be no connection any more; set once.
  #ended = null;
  // Set while there is a connection, and for good at the end.
  #settled = new Flag();
  #stopping = new AbortController();
  #runner = null;

  constructor({ baseUrl, chatToken, calls, WebSocket, chance, buffer = 1000, commandTimeoutMs = 10_000, ...more }) {
    const { patienceMs = 30_000, presence = null, onEnd } = more;
    this.#baseUrl = baseUrl;
    this.#chatToken = chatToken;
    this.#calls = calls;
    this.#WebSocket = WebSocket;
    this.#chance = chance;
    this.#commandTimeoutMs = commandTimeoutMs;
    this.#presence = presence;
    this.#onEnd = onEnd;
    this.#rooms = new JoinedRooms(this, { buffer, patienceMs, chance });
    this.#streams = new WatchedStreams(this, { buffer, patienceMs, chance });
    this.patienceMs = patienceMs;
  }

  /** Connect for the first time; called by `veza.connect`. */
  async open(signal) {
    this.#runner = this.#run().catch((bug) => this.failed(bug));
    const late = () => this.#lastError ?? new ConnectionLost("The server cannot be reached.");
    try {
      await within(this.patienceMs, late, signal, (limit) => this.#connection(limit));
    } catch (error) {
      await this.close();
      throw error;
    }
    return this;
  }

  /** Close the socket; rooms and events end their iteration. Commands in flight reject with `ChatClosed`. */
  async close() {
    this.#end(new ChatClosed("The chat was closed."));
    await this.#runner;
  }

  async [Symbol.asyncDispose ?? Symbol("asyncDispose")]() {
    await this.close();
  }

  /** The REST side of the same account. */
  get calls() {
    return this.#calls;
  }

  get connected() {
    return this.#link !== null;
  }

  /** The welcome of the present connection, null while there is none. */
  get welcome() {
    return this.#link === null ? null : camel(this.#link.welcome);
  }

  /** Whether it is nobody's, and can only watch streams. */
  get anonymous() {
    return this.#chatToken === null;
  }

  /** Whom the server takes this connection for. */
  get userId() {
    return this.#link?.welcome.user?.id ?? null;
  }

  /**
   * Open a room: from its end, or with `lastSeq` from just after that event.
   *
   * A room that is open already is returned as it is. Rejects with `RoomNotFound`, `NotAMember`, `InvalidArgument`
   * (a `lastSeq` ahead of the room) and, after `patienceMs`, `CommandTimeout`.
   */
  join(roomId, { lastSeq = null, signal } = {}) {
    return quiet(this.#rooms.join(roomId, lastSeq, signal));
  }

  /** See `Room.leave`. */
  async leave(room) {
    if (!this.#rooms.forget(room) || this.#link === null) return;
    try {
      await this.request("leave_room", { room_id: room.id });
    } catch (error) {
      if (!(error instanceof ConnectionLost)) throw error; // cut: the next connection does not join this room
    }
  }

  /**
   * Watch a live stream, in whatever state it is: from its last 50 messages on, or from those after `lastSeq`.
   *
   * A stream that is watched already is returned as it is. Rejects with `NotFound`, `Banned`, `RateLimited` (a socket
   * watches 20 streams) and, after `patienceMs`, `CommandTimeout`.
   */
  watch(streamId, { lastSeq = null, signal } = {}) {
    return quiet(this.#streams.watch(streamId, lastSeq, signal));
  }

  /** See `WatchedStream.unwatch`. */
  async unwatch(stream) {
    if (!this.#streams.forget(stream) || this.#link === null) return;
    try {
      await this.request("unwatch_stream", { stream_id: stream.id });
    } catch (error) {
      if (!(error instanceof ConnectionLost)) throw error; // cut: the next connection does not watch this stream
    }
  }

  /** What is no durable event of a room and of no watched stream, from now on; the oldest go beyond `limit`. */
  events({ limit = 1000 } = {}) {
    const subscription = new Subscription(limit, (one) => this.#subscriptions.delete(one));
    if (this.#ended === null) this.#subscriptions.add(subscription);
    else subscription.end(this.#told());
    return subscription;
  }

  /** Call `handler` for each of `events()`; see `Room.listen`. Returns a function that stops it. */
  listen(handler, onEnd) {
    const subscription = this.events();
    const stop = subscription.listen(handler, onEnd);
    return () => {
      stop();
      subscription.close();
    };
  }

  /** How others see this account: `online`, `away`, `busy`, `invisible`; told again after each reconnect. */
  setPresence(status, options) {
    this.#presence = status;
    return this.ask("set_presence", { status }, options);
  }

  /** Milliseconds for one round trip to the server. */
  ping(options) {
    const start = performance.now();
    return quiet(this.request("ping", {}, options).then(() => performance.now() - start));
  }

  /**
   * Send any command once, on the present connection or the next; resolves with the reply's data as it came.
   *
   * Rejects with the server's refusal, `ConnectionLost` when cut before the answer, `CommandTimeout`, or the reason
   * of `signal`.
   */
  request(command, args = {}, { timeoutMs = this.#commandTimeoutMs, signal, onReply } = {}) {
    const late = () => new CommandTimeout(`No answer to ${command} in time.`);
    return quiet(
      within(timeoutMs, late, signal, async (limit) => {
        const link = await this.#connection(limit);
        return link.call(command, args, { onReply, signal: limit });
      }),
    );
  }

  /**
   * Send a command that may be repeated until it is answered; null as `timeoutMs` never gives up. Resolves with the
   * reply's data, its names in camelCase.
   */
  ask(command, args, { timeoutMs = ASK_MS, signal } = {}) {
    const late = () => new CommandTimeout(`No answer to ${command} in ${timeoutMs} ms.`);
    return quiet(within(timeoutMs ?? undefined, late, signal, (limit) => this.#repeat(command, args, limit)));
  }

  async #repeat(command, args, signal) {
    const backoff = new Backoff(this.#chance);
    for (;;) {
      try {
        return camel(await this.request(command, args, { signal }));
      } catch (error) {
        if (signal.aborted) throw signal.reason;
        if (error instanceof Unavailable) {
          await sleep(Math.max((error.retryAfter ?? 0) * 1000, backoff.next()), signal);
          signal.throwIfAborted();
        } else if (!(error instanceof ConnectionLost || error instanceof CommandTimeout)) {
          throw error;
        }
      }
    }
  }

  // What follows is for the rooms and streams.

  /** Throws why there will be no connection any more, if so. */
  requireOpen() {
    if (this.#ended !== null) throw this.#ended;
  }

  /** The client broke in an unforeseen way: better no chat than one that misses something. */
  failed(bug) {
    console.error("veza: the chat failed in an unforeseen way:", bug);
    this.#end(new ClientError(`The client failed: ${bug}`, { code: "bug", cause: bug }));
  }

  // The connection.

  async #connection(signal) {
    while (this.#link === null) {
      this.requireOpen();
      await this.#settled.wait(signal);
    }
    return this.#link;
  }

  #end(error) {
    if (this.#ended !== null) return;
    this.#ended = error;
    this.#settled.set();
    this.#stopping.abort(error);
    this.#link?.end(error);
    this.#rooms.end(this.#told());
    this.#streams.end(this.#told());
    for (const subscription of this.#subscriptions) subscription.end(this.#told());
    this.#subscriptions.clear();
    this.#onEnd?.(this);
  }

  /** What consumers are told of the end: nothing, when it was asked for here. */
  #told() {
    return this.#ended instanceof ChatClosed ? null : this.#ended;
  }

  async #run() {
    const backoff = new Backoff(this.#chance, { capMs: LONGEST_BACKOFF_MS });
    for (let attempt = 1; this.#ended === null; attempt += 1) {
      const { error, resumeAt, livedMs } = await this.#live(attempt);
      if (this.#ended !== null) return;
      if (!error.retryable) return this.#end(error);
      if (livedMs > GOOD_CONNECTION_MS) backoff.reset();
      this.#lastError = error;
      const delayMs = resumeAt
        ? Math.max(0, resumeAt - Date.now())
        : Math.max(backoff.next(), (error.retryAfter ?? 0) * 1000);
      this.#publish({ type: "disconnected", reason: error.message, retryInMs: delayMs });
      await this.#pause(delayMs);
    }
  }

  /** Wait, but not once the browser says that there is a network again. */
  async #pause(delayMs) {
    const waking = new AbortController();
    const wake = () => waking.abort();
    globalThis.addEventListener?.("online", wake);
    this.#stopping.signal.addEventListener("abort", wake);
    try {
      await sleep(delayMs, waking.signal);
    } finally {
      globalThis.removeEventListener?.("online", wake);
      this.#stopping.signal.removeEventListener("abort", wake);
    }
  }

  /** One connection from token to end: why it ended, when to come back (0: by the backoff), how long it was up. */
  async #live(attempt) {
    let link = null;
    let resumeAt = 0;
    const onFrame = (frame) => {
      if (frame.type === "reconnect") {
        const afterMs = Math.min(Number(frame.after_ms) || 0, LONGEST_AFTER_MS);
        resumeAt = Date.now() + afterMs;
        // Until then the old connection still answers what was asked.
        sleep(afterMs, this.#stopping.signal).then(() =>
          link.end(new ConnectionLost("The server asked to reconnect.")),
        );
      } else if (!this.#rooms.take(frame) && !this.#streams.take(frame)) {
        this.#publish(transient(frame));
      }
    };
    try {
      // A token of its own for each connection: they last only minutes, and a revoked account gets none.
      const token = this.#chatToken && (await this.#chatToken(this.#stopping.signal));
      this.requireOpen();
      link = new Link({
        url: socketUrl(this.#baseUrl, token),
        WebSocket: this.#WebSocket,
        timeoutMs: this.#commandTimeoutMs,
        onWelcome: (welcomed) => this.#up(welcomed, attempt),
        onFrame,
      });
    } catch (error) {
      if (!(error instanceof ClientError)) throw error;
      return { error, resumeAt, livedMs: 0 };
    }
    const end = () => link.end(this.#ended);
    this.#stopping.signal.addEventListener("abort", end);
    const error = await link.ended;
    this.#stopping.signal.removeEventListener("abort", end);
    this.#down(link);
    const livedMs = link.welcomedAt === null ? 0 : Date.now() - link.welcomedAt;
    await link.closed();
    return { error, resumeAt, livedMs };
  }

  #up(link, attempt) {
    this.#link = link;
    this.#settled.set();
    this.#publish({ type: "connected", sessionId: link.welcome.session_id, attempt });
    this.#rooms.resume();
    this.#streams.resume();
    if (this.#presence !== null) this.#tellPresence();
  }

  #down(link) {
    if (this.#link !== link) return;
    this.#link = null;
    if (this.#ended === null) this.#settled.clear();
    this.#rooms.suspend();
    this.#streams.suspend();
  }

  #publish(event) {
    for (const subscription of this.#subscriptions) subscription.put(event);
    if (event.type === "notification") this.#calls.notifications.receive(event);
  }

  #tellPresence() {
    this.request("set_presence", { status: this.#presence }).catch((error) => {
      if (this.#ended === null && !(error instanceof ConnectionLost)) {
        console.warn("veza: presence could not be set:", error.message);
      }
    });
  }
}
