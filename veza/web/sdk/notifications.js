import { Subscription } from "./subscription.js";

// Several sockets are told the same; so many ids are remembered to tell it once.
const REMEMBERED = 1000;

/** `veza.notifications`: what happened to this account. Listed and marked over REST, pushed over any socket. */
export class NotificationCalls {
  #transport;
  #streams = new Set();
  #seen = new Set();

  constructor(transport, onNotification) {
    this.#transport = transport;
    if (onNotification) this.listen(onNotification);
  }

  /** A page, newest first, with how many are unread in all. */
  list({ limit = 20, cursor, unread = false, ...options } = {}) {
    const query = { limit, cursor, unread: unread || undefined };
    return this.#transport.call("GET", "notifications", { query, ...options });
  }

  /** Mark these as read; without ids, all. */
  markRead(ids = undefined, options = {}) {
    const body = ids === undefined ? { all: true } : { ids: [...ids] };
    return this.#transport.call("POST", "notifications/read", { body, ...options });
  }

  /** For each kind, whether one is told. */
  preferences(options = {}) {
    return this.#transport.call("GET", "notifications/preferences", { keep: true, ...options });
  }

  /** Change the kinds given; resolves with all. */
  setPreferences(wanted, options = {}) {
    return this.#transport.call("PUT", "notifications/preferences", { body: wanted, keep: true, ...options });
  }

  /**
   * What is pushed from now on to any socket of this client, each once. The oldest are dropped beyond `limit`, and
   * counted. While no socket is connected nothing is pushed: what came meanwhile is in `list`.
   */
  stream({ limit = 1000 } = {}) {
    const stream = new Subscription(limit, (one) => this.#streams.delete(one));
    this.#streams.add(stream);
    return stream;
  }

  /** Call `handler` for each notification from now on; returns a function that stops it. */
  listen(handler) {
    const stream = this.stream();
    const stop = stream.listen(handler);
    return () => {
      stop();
      stream.close();
    };
  }

  // What follows is the chat's side.

  receive(notification) {
    if (this.#seen.has(notification.id)) return;
    this.#seen.add(notification.id);
    if (this.#seen.size > REMEMBERED) this.#seen.delete(this.#seen.values().next().value);
    for (const stream of this.#streams) stream.put(notification);
  }

  close() {
    for (const stream of this.#streams) stream.end(null);
    this.#streams.clear();
  }
}
