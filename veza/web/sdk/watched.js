import { Backoff } from "./backoff.js";
import { ClientError, CommandTimeout, ConnectionLost, RateLimited } from "./errors.js";
import { WatchedStream } from "./stream.js";
import { sleep, within } from "./waiting.js";

/** The live streams of a chat: watched on each connection, and fed with what arrives. */
export class WatchedStreams {
  #chat;
  #buffer;
  #patienceMs;
  #chance;
  #streams = new Map();
  #connection = null;

  constructor(chat, { buffer, patienceMs, chance }) {
    this.#chat = chat;
    this.#buffer = buffer;
    this.#patienceMs = patienceMs;
    this.#chance = chance;
  }

  async watch(streamId, lastSeq, signal) {
    let stream = this.#streams.get(streamId);
    const ours = !stream?.open;
    if (ours) {
      this.#chat.requireOpen();
      stream = new WatchedStream(this.#chat, streamId, lastSeq, this.#buffer);
      this.#streams.set(streamId, stream);
      this.#sync(stream);
    } else if (lastSeq !== null) {
      throw new RangeError("the stream is watched already: unwatch it before beginning at another place");
    }
    const late = () => new CommandTimeout("The stream did not answer in time.");
    try {
      await within(this.#patienceMs, late, signal, (limit) => stream.answered(limit));
    } finally {
      if (ours && !stream.settled) this.forget(stream); // timed out, refused or given up: nobody has it
    }
    if (!stream.open) this.#chat.requireOpen();
    return stream;
  }

  /** Let go of a stream; false when that was done before. */
  forget(stream) {
    stream.end();
    return this.#streams.get(stream.id) === stream && this.#streams.delete(stream.id);
  }

  /** There is a connection: every stream is watched on it. */
  resume() {
    this.#connection = new AbortController();
    for (const stream of this.#streams.values()) {
      if (stream.open) this.#sync(stream);
      else this.#streams.delete(stream.id);
    }
  }

  /** The connection is gone. */
  suspend() {
    this.#connection?.abort(new ConnectionLost("The connection was cut before the answer."));
    this.#connection = null;
    for (const stream of this.#streams.values()) stream.suspend();
  }

  end(error) {
    for (const stream of this.#streams.values()) stream.end(error);
    this.#streams.clear();
  }

  /** A frame that is no reply; false when it tells of no stream that is watched here. */
  take(frame) {
    const stream = this.#streams.get(frame.stream_id);
    if (!stream?.open) return false;
    stream.take(frame);
    return true;
  }

  #sync(stream) {
    if (this.#connection === null) return;
    this.#watch(stream, this.#connection.signal).catch((bug) => this.#chat.failed(bug));
  }

  async #watch(stream, signal) {
    const backoff = new Backoff(this.#chance, { baseMs: 100 });
    const onReply = (data) => stream.takeAnswer(data);
    while (stream.open && !stream.live && !signal.aborted) {
      try {
        await this.#chat.request("watch_stream", { stream_id: stream.id }, { onReply, signal });
      } catch (error) {
        if (!(error instanceof ClientError)) throw error;
        if (signal.aborted) return; // the next connection watches anew
        // Who begins is told at once that there are too many; who was there before waits for their place.
        if (error.retryable && (stream.settled || !(error instanceof RateLimited))) {
          await sleep(Math.max((error.retryAfter ?? 0) * 1000, backoff.next()), signal);
        } else {
          stream.end(error);
        }
      }
    }
  }
}
