import { quiet } from "./waiting.js";

/**
 * What one does in a room: messages, what happens to them, people. What changes it resolves when the change is stored,
 * whatever happens to the connection meanwhile. All reject with the server's refusal.
 */
export class RoomCommands {
  #chat;

  constructor(chat, id) {
    this.#chat = chat;
    this.id = id;
  }

  // Messages.

  /**
   * Send a message; resolves when it is stored, once. `parentId` is the message it replies to; `attachments` come from
   * `uploadAttachment`.
   *
   * Tries with one id until the server answers. Rejects with the server's refusal (`RateLimited`, `Muted`,
   * `UserBlocked`, …), after which it is not stored, or `CommandTimeout` after `timeoutMs`, when that is not known:
   * sending again with the same `clientMsgId` is safe.
   */
  send(content, { clientMsgId = newId(), parentId, attachments = [], timeoutMs, signal } = {}) {
    const args = {
      content,
      client_msg_id: clientMsgId,
      parent_id: parentId,
      attachments: attachmentIds(attachments),
    };
    return this.#ask("send_message", args, { timeoutMs: timeoutMs ?? null, signal });
  }

  /** Replace the content of an own message, within 15 minutes of sending it. */
  edit(messageId, content, options) {
    return this.#ask("edit_message", { message_id: messageId, content }, options);
  }

  /** Delete an own message, or as a moderator anybody's: its place in the room stays, its content goes. */
  delete(messageId, options) {
    return this.#ask("delete_message", { message_id: messageId }, options);
  }

  /** Up to 10 different ones a message and person. */
  addReaction(messageId, emoji, options) {
    return this.#ask("add_reaction", { message_id: messageId, emoji }, options);
  }

  removeReaction(messageId, emoji, options) {
    return this.#ask("remove_reaction", { message_id: messageId, emoji }, options);
  }

  pin(messageId, options) {
    return this.#ask("pin_message", { message_id: messageId }, options);
  }

  unpin(messageId, options) {
    return this.#ask("unpin_message", { message_id: messageId }, options);
  }

  /** Up to 100 messages before or after a seq; without either, the newest. */
  history({ limit = 50, beforeSeq, afterSeq, ...options } = {}) {
    return this.#ask("get_history", { limit, before_seq: beforeSeq, after_seq: afterSeq }, options);
  }

  /** Up to 100 replies to a message, oldest first. While `hasMore`, ask on after the last one's seq. */
  thread(parentId, { afterSeq, limit = 50, ...options } = {}) {
    return this.#ask("get_thread", { parent_id: parentId, after_seq: afterSeq, limit }, options);
  }

  /** Messages with all the words of `q`, newest first; see `ConversationCalls.search`. */
  search(q, options) {
    return this.#chat.calls.conversations.search(this.id, q, options);
  }

  /** The pinned messages. */
  pins(options) {
    return this.#chat.calls.conversations.pins(this.id, options);
  }

  /** Everything up to `seq` was read. */
  markRead(seq, options) {
    return this.#ask("mark_read", { seq }, options);
  }

  /** Tell the others; the server forgets it after 5 s. Not while the connection is cut: late it would be wrong. */
  typing(isTyping, options) {
    if (!this.#chat.connected) return Promise.resolve();
    return quiet(this.#chat.request("typing", { room_id: this.id, is_typing: isTyping }, options).then(() => {}));
  }

  // Files.

  /** Upload a `Blob` or `File`; pass the result to `send`. */
  uploadAttachment(file, options) {
    return this.#chat.calls.attachments.upload(this.id, file, options);
  }

  /** The content of an attachment, as a `Blob`. */
  downloadAttachment(attachment, options) {
    return this.#chat.calls.attachments.download(this.id, attachment, options);
  }

  // People; see `ModerationCalls`.

  /** Who is in the room, with presence and how far each has read. */
  members(options) {
    return this.#ask("get_members", {}, options);
  }

  setRole(userId, role, options) {
    return this.#chat.calls.moderation.setRole(this.id, userId, role, options);
  }

  warn(userId, options) {
    return this.#chat.calls.moderation.warn(this.id, userId, options);
  }

  mute(userId, options) {
    return this.#chat.calls.moderation.mute(this.id, userId, options);
  }

  kick(userId, options) {
    return this.#chat.calls.moderation.kick(this.id, userId, options);
  }

  ban(userId, options) {
    return this.#chat.calls.moderation.ban(this.id, userId, options);
  }

  lift(userId, action, options) {
    return this.#chat.calls.moderation.lift(this.id, userId, action, options);
  }

  sanctions(options) {
    return this.#chat.calls.moderation.list(this.id, options);
  }

  #ask(command, args, options) {
    return this.#chat.ask(command, { room_id: this.id, ...args }, options);
  }
}

/** The ids of attachments, or of ids; undefined for none. */
export function attachmentIds(attachments) {
  return attachments.length > 0 ? attachments.map((one) => one.id ?? one) : undefined;
}

/** A UUID of version 4, also in pages that are not served securely, where `crypto.randomUUID` is missing. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
