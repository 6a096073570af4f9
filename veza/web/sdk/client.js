import { AttachmentCalls } from "./attachments.js";
import { Chat } from "./chat.js";
import { ConversationCalls, part } from "./conversations.js";
import { InvalidArgument, Unauthenticated } from "./errors.js";
import { LiveCalls, LiveModerationCalls } from "./live.js";
import { ModerationCalls } from "./moderation.js";
import { NotificationCalls } from "./notifications.js";
import { Transport } from "./transport.js";
import { quiet } from "./waiting.js";

/**
 * The entry to everything: an account on one server.
 *
 * `baseUrl` is the server's root, such as `http://localhost:8080`. `tokens` continue an earlier sign-in; `onTokens` is
 * called with each new pair (null after a logout), to be kept by who wants to come back; `onNotification` with each
 * notification that any of its sockets is told of, once. `cookies` leaves the refresh
 * token to the browser, in a cookie that no script can read: come back with `resume()`. `WebSocket` and `fetch` are the
 * platform's unless given.
 */
export class Client {
  #transport;
  #WebSocket;
  #chance;
  #presence = null;
  #chats = new Set();

  constructor(baseUrl, options = {}) {
    const { timeoutMs = 10_000, tokens = null, onTokens, cookies = false, chance = Math.random } = options;
    const { WebSocket = globalThis.WebSocket, fetch = globalThis.fetch, onNotification } = options;
    this.#transport = new Transport({ baseUrl, timeoutMs, tokens, onTokens, cookies, fetch });
    this.#WebSocket = WebSocket;
    this.#chance = chance;
    this.conversations = new ConversationCalls(this.#transport);
    this.moderation = new ModerationCalls(this.#transport);
    this.attachments = new AttachmentCalls(this.#transport);
    this.live = new LiveCalls(this.#transport);
    this.liveModeration = new LiveModerationCalls(this.#transport);
    this.notifications = new NotificationCalls(this.#transport, onNotification);
  }

  /** Close the chats. The session on the server stays; `logout` ends it. */
  async close() {
    await Promise.all([...this.#chats].map((chat) => chat.close()));
    this.notifications.close();
  }

  async [Symbol.asyncDispose ?? Symbol("asyncDispose")]() {
    await this.close();
  }

  get baseUrl() {
    return this.#transport.baseUrl;
  }

  /** The present pair; null when nobody is signed in. */
  get tokens() {
    return this.#transport.keeper.tokens;
  }

  // Signing in and out.

  /** Make an account and sign in. Rejects with `Conflict` for a taken name or address, `InvalidArgument`. */
  register(username, email, password, options = {}) {
    return quiet(this.#signIn("auth/register", { username, email, password }, options));
  }

  /** Sign in. Rejects with `Unauthenticated`, and `RateLimited` after too many failures. */
  login(email, password, options = {}) {
    return quiet(this.#signIn("auth/login", { email, password }, options));
  }

  /** Come back with the browser's cookie, in cookie mode. Rejects with `Unauthenticated` when there is none. */
  resume() {
    return quiet(this.#transport.keeper.resume().then((credentials) => credentials.user));
  }

  /** End this session, here and on the server; its sockets are closed. */
  logout(options = {}) {
    return quiet(this.#logout(options));
  }

  /** End another session of this account. */
  logoutSession(sessionId, options = {}) {
    return this.#transport.done("POST", "sessions/logout", { body: { session_id: sessionId }, ...options });
  }

  /** End every session of this account, this one too. */
  logoutAll(options = {}) {
    const call = this.#transport.done("POST", "sessions/logout-all", options);
    return quiet(call.then(() => this.#transport.keeper.forget()));
  }

  sessions(options = {}) {
    return this.#transport.pick("sessions", "GET", "sessions", options);
  }

  // People.

  me(options = {}) {
    return this.#transport.call("GET", "users/me", options);
  }

  user(userId, options = {}) {
    return this.#transport.call("GET", `users/${part(userId)}`, options);
  }

  /** No direct messages between the two, in either direction. */
  block(userId, options = {}) {
    return this.#transport.done("POST", `users/${part(userId)}/block`, options);
  }

  unblock(userId, options = {}) {
    return this.#transport.done("DELETE", `users/${part(userId)}/block`, options);
  }

  /** Whom one has blocked. */
  blocks({ limit = 20, offset = 0, ...options } = {}) {
    return this.#transport.call("GET", "users/me/blocks", { query: { limit, offset }, ...options });
  }

  /** Hear of what a person does, such as that they are on the air. */
  follow(userId, options = {}) {
    return this.#transport.call("POST", `users/${part(userId)}/follow`, options);
  }

  unfollow(userId, options = {}) {
    return this.#transport.call("DELETE", `users/${part(userId)}/follow`, options);
  }

  /** Who follows a person. */
  followers(userId, { limit = 20, offset = 0, ...options } = {}) {
    return this.#transport.call("GET", `users/${part(userId)}/followers`, { query: { limit, offset }, ...options });
  }

  /** Whom a person follows. */
  following(userId, { limit = 20, offset = 0, ...options } = {}) {
    return this.#transport.call("GET", `users/${part(userId)}/following`, { query: { limit, offset }, ...options });
  }

  /** How others see this account: on all its sockets, the present ones and those to come. */
  setPresence(status, options) {
    this.#presence = status;
    const named = [...this.#chats].filter((chat) => !chat.anonymous);
    return quiet(Promise.all(named.map((chat) => chat.setPresence(status, options))).then(() => {}));
  }

  // The server.

  /** Whether the server answers; `deep` asks it to check what it depends on. */
  health({ deep = false, ...options } = {}) {
    return this.#transport.call("GET", deep ? "health/deep" : "health", { signed: false, ...options });
  }

  /** A token for one socket, good for minutes and for nothing else. */
  chatToken(options = {}) {
    return this.#transport.pick("token", "GET", "chat/token", options);
  }

  /**
   * A socket that is connected. See `Chat` for the options; `signal` ends the waiting. One that is `anonymous` needs no
   * sign-in, and can only watch live streams.
   */
  connect({ signal, anonymous = false, ...options } = {}) {
    if (typeof this.#WebSocket !== "function") {
      const message = "This platform has no WebSocket: give the Client a WebSocket class.";
      return quiet(Promise.reject(new InvalidArgument(message)));
    }
    const chat = new Chat({
      presence: anonymous ? null : this.#presence,
      ...options,
      baseUrl: this.baseUrl,
      chatToken: anonymous ? null : (stop) => this.chatToken({ signal: stop }),
      calls: this,
      WebSocket: this.#WebSocket,
      chance: this.#chance,
      onEnd: (ended) => this.#chats.delete(ended),
    });
    this.#chats.add(chat);
    return quiet(chat.open(signal));
  }

  async #signIn(path, body, options) {
    const credentials = await this.#transport.call("POST", path, { body, signed: false, ...options });
    this.#transport.keeper.accept(credentials);
    return credentials.user;
  }

  async #logout(options) {
    try {
      await this.#transport.done("POST", "auth/logout", options);
    } catch (error) {
      if (!(error instanceof Unauthenticated)) throw error; // the session had ended before
    }
    this.#transport.keeper.forget();
  }
}
