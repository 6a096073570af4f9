import { newId } from "./commands.js";
import { StreamCursor } from "./cursor.js";
import { Subscription } from "./subscription.js";
import { Deferred, quiet } from "./waiting.js";
import { readWatched, streamEvent } from "./wire.js";

/**
 * A live stream that is watched: `for await (const event of stream)` gives what its viewers are told; messages in order
 * of `seq`, none twice.
 *
 * It begins with the last 50 messages. After a cut it goes on with those that came meanwhile, tells of what was
 * deleted, and by `stream_messages_skipped` of how many cannot be had; `stream_updated` says what the stream is by
 * then. A stream of thousands goes on for whoever keeps up: of events beyond the buffer the oldest are dropped, and
 * counted in `dropped`. The iteration ends when it is unwatched or deleted, or the chat is closed; it throws what ended
 * it otherwise (`SessionEnded`, `Banned` or `NotFound` after a reconnect, …).
 */
export class WatchedStream {
  #chat;
  #cursor;
  #events;
  #stream = null;
  #viewerCount = 0;
  #open = true;
  #answered = new Deferred();

  constructor(chat, id, lastSeq, limit) {
    this.#chat = chat;
    this.id = id;
    this.#cursor = new StreamCursor(lastSeq);
    this.#events = new Subscription(limit, () => {});
  }

  /** What is known of it now. */
  get stream() {
    return this.#stream;
  }

  get viewerCount() {
    return this.#viewerCount;
  }

  /** The seq of the newest message received: give it to `watch` to continue another time. */
  get lastSeq() {
    return this.#cursor.lastSeq;
  }

  /** Whether events come as they happen; false while the connection is cut. */
  get live() {
    return this.#cursor.live;
  }

  /** How many events its consumer was too slow for. */
  get dropped() {
    return this.#events.dropped;
  }

  /** The next event, as an iterator gives it. Aborting the signal loses nothing. */
  next(options) {
    return quiet(this.#events.next(options));
  }

  [Symbol.asyncIterator]() {
    return this.#events[Symbol.asyncIterator]();
  }

  /** Call `handler` for each event; see `Room.listen`. */
  listen(handler, onEnd) {
    return this.#events.listen(handler, onEnd);
  }

  /** No more events. What was received can still be consumed. */
  unwatch() {
    return quiet(this.#chat.unwatch(this));
  }

  // Its chat.

  /**
   * Send a message; resolves when it is stored, once.
   *
   * Tries with one id until the server answers. Rejects with the server's refusal (`RateLimited`, also in slow mode,
   * `Muted`, `Banned`, `Conflict` once the stream has ended, …), after which it is not stored, or `CommandTimeout`
   * after `timeoutMs`, when that is not known: sending again with the same `clientMsgId` is safe.
   */
  send(content, { clientMsgId = newId(), timeoutMs, signal } = {}) {
    const args = { stream_id: this.id, content, client_msg_id: clientMsgId };
    return this.#chat.ask("stream_message", args, { timeoutMs: timeoutMs ?? null, signal });
  }

  /** Show an emoji to all viewers. Not while the connection is cut: late it would be wrong. */
  react(emoji, options) {
    if (!this.live) return Promise.resolve();
    return quiet(this.#chat.request("stream_react", { stream_id: this.id, emoji }, options).then(() => {}));
  }

  /** See `LiveCalls.messages`. */
  history(options) {
    return this.#chat.calls.live.messages(this.id, options);
  }

  /** The address of the pictures. */
  playback(options) {
    return this.#chat.calls.live.playback(this.id, options);
  }

  // Order in it; see `LiveModerationCalls`.

  delete(messageId, options) {
    return this.#chat.calls.liveModeration.deleteMessage(this.id, messageId, options);
  }

  mute(userId, options) {
    return this.#chat.calls.liveModeration.mute(this.id, userId, options);
  }

  ban(userId, options) {
    return this.#chat.calls.liveModeration.ban(this.id, userId, options);
  }

  lift(userId, action, options) {
    return this.#chat.calls.liveModeration.lift(this.id, userId, action, options);
  }

  // What follows is the chat's side.

  get open() {
    return this.#open;
  }

  /** Whether it was answered once. */
  get settled() {
    return this.#stream !== null;
  }

  /** Wait for the first answer; rejects with what prevented it. */
  answered(signal) {
    return this.#answered.wait(signal);
  }

  /** The connection is gone. */
  suspend() {
    this.#cursor.suspend();
  }

  /** The data of the reply to `watch_stream`. Throws `ProtocolError`. */
  takeAnswer(data) {
    const { stream, viewerCount, messages } = readWatched(data);
    const again = this.settled;
    this.#stream = stream;
    if (again) this.#put({ type: "stream_updated", streamId: this.id, stream });
    if (again && viewerCount !== this.#viewerCount) {
      this.#put({ type: "viewer_count", streamId: this.id, count: viewerCount });
    }
    this.#viewerCount = viewerCount;
    const { skipped, fresh, deleted } = this.#cursor.recent(messages);
    for (const messageId of deleted) this.#put({ type: "stream_message_deleted", streamId: this.id, messageId });
    if (skipped > 0) this.#put({ type: "stream_messages_skipped", streamId: this.id, count: skipped });
    for (const message of fresh) this.#put(streamEvent(message, this.id));
    this.#answered.resolve();
  }

  /** An event that arrived. */
  take(frame) {
    const event = streamEvent(frame, this.id);
    if (event.type === "stream_message" && !this.#cursor.message(event.seq, event.id)) return;
    this.#learn(event);
    this.#put(event);
    if (event.type === "stream_updated" && event.deleted) this.end();
  }

  /** No more events; `error` is what the consumer is told after the last one. */
  end(error = null) {
    if (!this.#open) return;
    this.#open = false;
    this.#cursor.suspend();
    this.#events.end(error);
    if (error) this.#answered.reject(error);
    else this.#answered.resolve();
  }

  #put(event) {
    if (this.#open) this.#events.put(event);
  }

  #learn(event) {
    switch (event.type) {
      case "stream_message_deleted":
        this.#cursor.deleted(event.messageId);
        break;
      case "viewer_count":
        this.#viewerCount = event.count;
        break;
      case "stream_updated":
        this.#stream = event.stream ?? this.#stream;
        break;
      case "stream_started": {
        const { startedAt, playbackUrl } = event;
        this.#change({ status: "live", isLive: true, startedAt, playbackUrl, interruptedAt: null });
        break;
      }
      case "stream_stopped": {
        const { durationS, peakViewers } = event;
        this.#change({ status: "ended", isLive: false, interruptedAt: null, durationS, peakViewers });
        break;
      }
    }
  }

  #change(changes) {
    if (this.#stream !== null) this.#stream = { ...this.#stream, ...changes };
  }
}
