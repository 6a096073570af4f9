import { attachmentIds, newId } from "./commands.js";

/** `veza.conversations`: rooms over REST. Every call takes `{signal}` last and rejects with a `ClientError`. */
export class ConversationCalls {
  #transport;

  constructor(transport) {
    this.#transport = transport;
  }

  /** Make a room: `direct`, `group` or `public`. A second `direct` room with the same person is the first one. */
  create(kind = "group", name = undefined, memberIds = [], options = {}) {
    return this.#call("POST", "", { body: { type: kind, name, member_ids: memberIds }, ...options });
  }

  get(roomId, options = {}) {
    return this.#call("GET", `/${part(roomId)}`, options);
  }

  /** Change the name, or for how many days messages are kept (0: for ever); what is left out stays. */
  update(roomId, { name, retentionDays, ...options }) {
    return this.#call("PUT", `/${part(roomId)}`, { body: { name, retention_days: retentionDays }, ...options });
  }

  delete(roomId, options = {}) {
    return this.#done("DELETE", `/${part(roomId)}`, options);
  }

  /** The rooms one is a member of, with last message and unread count. */
  mine({ limit = 20, offset = 0, ...options } = {}) {
    return this.#call("GET", "", { query: { limit, offset }, ...options });
  }

  /** Public rooms to join, newest first; `q` is a part of the name. */
  discover({ q, limit = 20, offset = 0, ...options } = {}) {
    return this.#call("GET", "/public", { query: { q, limit, offset }, ...options });
  }

  /** The same, by the name of the address. */
  public(options) {
    return this.discover(options);
  }

  /** Become a member of a public room. */
  join(roomId, options = {}) {
    return this.#done("POST", `/${part(roomId)}/join`, options);
  }

  leave(roomId, options = {}) {
    return this.#done("POST", `/${part(roomId)}/leave`, options);
  }

  addMember(roomId, userId, { role, ...options } = {}) {
    return this.#done("POST", `/${part(roomId)}/members`, { body: { user_id: userId, role }, ...options });
  }

  removeMember(roomId, userId, options = {}) {
    return this.#done("DELETE", `/${part(roomId)}/members/${part(userId)}`, options);
  }

  /** A page of messages, newest first; `cursor` is the `nextCursor` of the page before. */
  history(roomId, { limit = 50, cursor, ...options } = {}) {
    return this.#call("GET", `/${part(roomId)}/history`, { query: { limit, cursor }, ...options });
  }

  /** All messages from the newest to the first, fetched `page` at a time. */
  async *walk(roomId, { page = 100, ...options } = {}) {
    let cursor;
    do {
      const found = await this.history(roomId, { limit: page, cursor, ...options });
      yield* found.messages;
      cursor = found.hasMore ? found.nextCursor : null;
    } while (cursor);
  }

  /** Messages with all the words of `q`, newest first; `cursor` is the `nextCursor` of the page before. */
  search(roomId, q, { limit = 20, cursor, ...options } = {}) {
    return this.#call("GET", `/${part(roomId)}/search`, { query: { q, limit, cursor }, ...options });
  }

  /** The pinned messages. */
  pins(roomId, options = {}) {
    return this.#pick("GET", `/${part(roomId)}/pins`, options, "messages");
  }

  /** Send without a socket. With the `clientMsgId` of an earlier try the message is stored once. */
  send(roomId, content, { clientMsgId = newId(), parentId, attachments = [], ...options } = {}) {
    const body = {
      content,
      client_msg_id: clientMsgId,
      parent_id: parentId,
      attachments: attachmentIds(attachments),
    };
    return this.#call("POST", `/${part(roomId)}/messages`, { body, ...options });
  }

  #call(method, path, options) {
    return this.#transport.call(method, `conversations${path}`, options);
  }

  #done(method, path, options) {
    return this.#transport.done(method, `conversations${path}`, options);
  }

  #pick(method, path, options, member) {
    return this.#transport.pick(member, method, `conversations${path}`, options);
  }
}

/** An id as a part of a path, whatever it holds: no id leads out of its place. */
export function part(id) {
  // Nothing, and the dots that mean "here" and "up" in paths, can be no id; "-" is none either.
  return /^\.{0,2}$/.test(id) ? "-" : encodeURIComponent(id);
}
