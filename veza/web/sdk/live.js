import { part } from "./conversations.js";

// Undefined and null are left out of a body; this is sent, as null.
const NULL = Object.freeze({ toJSON: () => null });

/**
 * `veza.live`: live streams over REST. Every call takes `{signal}` last and rejects with a `ClientError`. What
 * everybody may see needs no sign-in.
 */
export class LiveCalls {
  #transport;

  constructor(transport) {
    this.#transport = transport;
  }

  /** Public streams: those on the air first, by how many watch. `q` are words of title, tags or description. */
  list({ q, isLive, category, tag, userId, sort, limit = 20, offset = 0, ...options } = {}) {
    const query = { q, is_live: isLive, category, tag, user_id: userId, sort, limit, offset };
    return this.#look("", { query, ...options });
  }

  /** A private stream is seen by its owner alone. */
  get(streamId, options = {}) {
    return this.#look(`/${part(streamId)}`, options);
  }

  /** One's own streams, newest first, with the key. */
  mine({ limit = 20, offset = 0, ...options } = {}) {
    return this.#call("GET", "/me", { query: { limit, offset }, ...options });
  }

  // What a creator does.

  /** Make a stream. It goes on the air when its source comes; with `scheduledAt` it is announced for then. */
  create(title, { signal, timeoutMs, ...fields } = {}) {
    return this.#call("POST", "", { body: body({ title, ...fields }), signal, timeoutMs });
  }

  /** Change a stream of one's own; what is left out stays. `scheduledAt: null` makes it a draft again. */
  update(streamId, { signal, timeoutMs, ...changes }) {
    return this.#call("PUT", `/${part(streamId)}`, { body: body(changes), signal, timeoutMs });
  }

  /** Delete a stream of one's own and its chat; not while it is on the air. */
  delete(streamId, options = {}) {
    return this.#transport.done("DELETE", `live/streams/${part(streamId)}`, options);
  }

  /** Go on the air with a source that does not publish to this server; again is harmless. */
  start(streamId, options = {}) {
    return this.#call("POST", `/${part(streamId)}/start`, options);
  }

  /** End a stream, whatever its source; again is harmless. */
  stop(streamId, options = {}) {
    return this.#call("POST", `/${part(streamId)}/stop`, options);
  }

  /** What an encoder publishes with. It starts the newest stream that has not ended; without any, one is made. */
  key(options = {}) {
    return this.#call("GET", "/me/key", options);
  }

  /** Another key; the one before is good no more, and what is published with it is cut. */
  regenerateKey(options = {}) {
    return this.#call("POST", "/me/key/regenerate", options);
  }

  /** How well the encoder of a stream of one's own sends. */
  health(streamId, options = {}) {
    return this.#call("GET", `/${part(streamId)}/health`, options);
  }

  /** Delete what is kept of a stream of one's own; the stream and its chat stay. */
  deleteRecording(streamId, options = {}) {
    return this.#transport.done("DELETE", `live/streams/${part(streamId)}/recording`, options);
  }

  // What a viewer needs.

  /** The address of the pictures. That of a private stream is signed, and good for some hours. */
  playback(streamId, options = {}) {
    return this.#call("POST", `/${part(streamId)}/playback`, { signed: this.#transport.signedIn, ...options });
  }

  /** A page of the chat; `cursor` is the `nextCursor` of the page before, in the same order: `newest` or `oldest`. */
  messages(streamId, { limit = 20, cursor, order, ...options } = {}) {
    return this.#look(`/${part(streamId)}/messages`, { query: { limit, cursor, order }, ...options });
  }

  /** All messages of the chat, fetched `page` at a time. */
  async *walk(streamId, { page = 100, ...options } = {}) {
    let cursor;
    do {
      const found = await this.messages(streamId, { limit: page, cursor, ...options });
      yield* found.messages;
      cursor = found.hasMore ? found.nextCursor : null;
    } while (cursor);
  }

  /** What is kept of a stream. Rejects with `NotFound` where nothing is. */
  recording(streamId, options = {}) {
    return this.#look(`/${part(streamId)}/recording`, options);
  }

  /** A page of the chat along the recording: from its second `fromS` on, or where `cursor` says. */
  recordingMessages(streamId, { limit = 20, cursor, fromS, ...options } = {}) {
    return this.#look(`/${part(streamId)}/recording/messages`, { query: { limit, cursor, from_s: fromS }, ...options });
  }

  #call(method, path, options) {
    return this.#transport.call(method, `live/streams${path}`, options);
  }

  /** Signed by whoever is signed in, for they may see more. */
  #look(path, options) {
    return this.#call("GET", path, { signed: this.#transport.signedIn, ...options });
  }
}

/** `veza.liveModeration`: order in the chats of streams. For their owners and moderators, and for administrators. */
export class LiveModerationCalls {
  #transport;

  constructor(transport) {
    this.#transport = transport;
  }

  /** Take a message out of the chat; one's own needs nobody's leave. */
  deleteMessage(streamId, messageId, options = {}) {
    return this.#done("DELETE", streamId, `messages/${part(messageId)}`, options);
  }

  /** They may read and not write, for `durationS` seconds or until lifted. */
  mute(streamId, userId, options = {}) {
    return this.sanction(streamId, userId, "mute", options);
  }

  /** They are told nothing more and cannot watch, for `durationS` seconds or until lifted. */
  ban(streamId, userId, options = {}) {
    return this.sanction(streamId, userId, "ban", options);
  }

  /** Either of the two. */
  sanction(streamId, userId, action, { durationS, reason, ...options } = {}) {
    const body = { user_id: userId, action, duration_s: durationS, reason: reason || undefined };
    return this.#call("POST", streamId, "sanctions", { body, ...options });
  }

  /** End a `mute` or a `ban`. */
  lift(streamId, userId, action, options = {}) {
    return this.#done("DELETE", streamId, `sanctions/${part(userId)}/${part(action)}`, options);
  }

  /** Mutes and bans in force, newest first; with `includeEnded` those before, too. */
  sanctions(streamId, { limit = 20, cursor, includeEnded = false, ...options } = {}) {
    const query = { limit, cursor, include_ended: includeEnded || undefined };
    return this.#call("GET", streamId, "sanctions", { query, ...options });
  }

  /** Make somebody a moderator of a stream of one's own; again is harmless. */
  addModerator(streamId, userId, options = {}) {
    return this.#done("PUT", streamId, `moderators/${part(userId)}`, options);
  }

  /** They moderate no more; again is harmless. */
  removeModerator(streamId, userId, options = {}) {
    return this.#done("DELETE", streamId, `moderators/${part(userId)}`, options);
  }

  /** Who moderates, the latest first. */
  moderators(streamId, { limit = 20, offset = 0, ...options } = {}) {
    return this.#call("GET", streamId, "moderators", { query: { limit, offset }, ...options });
  }

  #call(method, streamId, path, options) {
    return this.#transport.call(method, `live/streams/${part(streamId)}/${path}`, options);
  }

  #done(method, streamId, path, options) {
    return this.#transport.done(method, `live/streams/${part(streamId)}/${path}`, options);
  }
}

/** What is said of a stream, as it is sent. */
function body({ title, description, category, tags, isPrivate, isRecorded, slowModeSeconds, scheduledAt }) {
  return {
    title,
    description,
    category,
    tags,
    is_private: isPrivate,
    is_recorded: isRecorded,
    slow_mode_seconds: slowModeSeconds,
    scheduled_at: scheduledAt === null ? NULL : scheduledAt,
  };
}
