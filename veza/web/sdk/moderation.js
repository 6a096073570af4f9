import { part } from "./conversations.js";

/**
 * `veza.moderation`: roles and sanctions in rooms. For the owner and the moderators of a room, towards whoever stands
 * below them.
 */
export class ModerationCalls {
  #transport;

  constructor(transport) {
    this.#transport = transport;
  }

  /** Tell them. The third warning also mutes (a setting of the server). */
  warn(roomId, userId, options = {}) {
    return this.sanction(roomId, userId, "warn", options);
  }

  /** They may read and not write, for `durationS` seconds or until lifted. */
  mute(roomId, userId, options = {}) {
    return this.sanction(roomId, userId, "mute", options);
  }

  /** They are out, and may come back. */
  kick(roomId, userId, options = {}) {
    return this.sanction(roomId, userId, "kick", options);
  }

  /** They are out and not let in again, for `durationS` seconds or until lifted. */
  ban(roomId, userId, options = {}) {
    return this.sanction(roomId, userId, "ban", options);
  }

  /** Any of the four. */
  sanction(roomId, userId, action, { durationS, reason, ...options } = {}) {
    const body = { user_id: userId, action, duration_s: durationS, reason: reason || undefined };
    return this.#transport.call("POST", `conversations/${part(roomId)}/sanctions`, { body, ...options });
  }

  /** End a `mute` or a `ban`. */
  lift(roomId, userId, action, options = {}) {
    const path = `conversations/${part(roomId)}/sanctions/${part(userId)}/${part(action)}`;
    return this.#transport.done("DELETE", path, options);
  }

  /** What was imposed in a room, newest first. */
  list(roomId, { limit = 20, offset = 0, ...options } = {}) {
    const path = `conversations/${part(roomId)}/sanctions`;
    return this.#transport.call("GET", path, { query: { limit, offset }, ...options });
  }

  /** Make a member a `moderator`, or a moderator a `member`. */
  setRole(roomId, userId, role, options = {}) {
    const path = `conversations/${part(roomId)}/members/${part(userId)}`;
    return this.#transport.done("PUT", path, { body: { role }, ...options });
  }
}
