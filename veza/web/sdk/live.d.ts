/** Types of live streams, which `veza.d.ts` passes on. */

import type { Abortable, ClientError, CursorPaging, Limited, Paging, Person, Source, Timed } from "./veza.js";

// What REST and the socket tell.

export type StreamCategory = "music" | "talk" | "podcast" | "dj_set" | "production" | "lesson" | "other";
/** `interrupted`: its source has vanished, and may come back. */
export type StreamStatus = "draft" | "scheduled" | "live" | "interrupted" | "ended";
export type StreamAction = "mute" | "ban";

export interface Stream {
  id: string;
  user: Person;
  title: string;
  description: string;
  category: StreamCategory;
  tags: string[];
  status: StreamStatus;
  /** Also while it is interrupted. */
  isLive: boolean;
  isPrivate: boolean;
  isRecorded: boolean;
  slowModeSeconds: number;
  playbackId: string;
  /** From the server's root. */
  playbackUrl: string;
  viewerCount: number;
  peakViewers: number;
  messageCount: number;
  reactionCount: number;
  scheduledAt: string | null;
  startedAt: string | null;
  interruptedAt: string | null;
  endedAt: string | null;
  durationS: number | null;
  createdAt: string;
  updatedAt: string;
}

/** With the key of its owner: whoever has it can publish. */
export interface OwnStream extends Stream {
  streamKey: string;
}

export interface Streams {
  streams: Stream[];
  total: number;
}

export interface OwnStreams {
  streams: OwnStream[];
  total: number;
}

/** Where an encoder publishes, the key being the stream's name there, and which stream it starts. */
export interface StreamKey {
  streamKey: string;
  rtmpUrl: string;
  streamId: string;
}

/** Where the pictures are, from the server's root. Of a private stream it is a secret, good until `expiresAt`. */
export interface Playback {
  playbackUrl: string;
  expiresAt: string | null;
}

/** `content` is null once it was deleted. */
export interface StreamMessage {
  streamId: string;
  seq: number;
  id: string;
  sender: Person;
  content: string | null;
  clientMsgId: string | null;
  createdAt: string;
  deletedAt?: string | null;
}

export interface StreamMessages {
  messages: StreamMessage[];
  nextCursor: string | null;
  hasMore: boolean;
}

/** The server has the message for good; `duplicate` says that an earlier attempt had stored it. */
export interface StoredStreamMessage {
  messageId: string;
  seq: number;
  createdAt: string;
  duplicate: boolean;
}

/** Rates are of the last ten seconds, `dropped` and `late` count frames since the encoder came. */
export interface StreamHealth {
  status: StreamStatus;
  isPublishing: boolean;
  videoBps: number;
  audioBps: number;
  fps: number;
  keyIntervalS: number | null;
  dropped: number;
  late: number;
  /** Nothing has come for so long. */
  silentS: number | null;
  /** Sentences for the streamer. */
  warnings: string[];
}

/** What is kept of a stream. While it is not `isReady` more comes, and nothing can be played. */
export interface Recording {
  streamId: string;
  isReady: boolean;
  durationS: number;
  sizeBytes: number;
  playbackUrl: string;
  createdAt: string;
  finishedAt: string | null;
}

export interface RecordingMessages {
  /** `positionS` is the second of the recording at which it was written. */
  messages: { id: string; seq: number; sender: Person; content: string; createdAt: string; positionS: number }[];
  nextCursor: string | null;
  hasMore: boolean;
}

export interface StreamModerators {
  moderators: { user: Person; createdAt: string }[];
  total: number;
}

/** `active` says whether it holds now: until `until`, or with null until it is lifted. */
export interface StreamSanction {
  id: string;
  user: Person;
  action: StreamAction;
  reason: string;
  by: Person;
  createdAt: string;
  until: string | null;
  liftedAt: string | null;
  active: boolean;
}

export interface StreamSanctions {
  sanctions: StreamSanction[];
  total: number;
  nextCursor: string | null;
  hasMore: boolean;
}

export interface StreamSanctioned {
  id: string;
  userId: string;
  action: StreamAction;
  until: string | null;
}

export interface FollowState {
  userId: string;
  following: boolean;
  followerCount: number;
}

export interface Followers {
  followers: { user: Person; createdAt: string }[];
  total: number;
}

export interface Following {
  following: { user: Person; createdAt: string }[];
  total: number;
}

// Events.

export type StreamEvent =
  | ({ type: "stream_message" } & StreamMessage)
  | { type: "stream_started"; streamId: string; startedAt: string; playbackUrl: string }
  | { type: "stream_stopped"; streamId: string; durationS: number; peakViewers: number }
  /** A deleted one has no `stream`, and this is its last event. */
  | { type: "stream_updated"; streamId: string; stream?: Stream; deleted?: boolean }
  | { type: "viewer_count"; streamId: string; count: number }
  /** The reactions of all viewers in a second, by emoji. */
  | { type: "stream_reactions"; streamId: string; counts: Record<string, number> }
  | { type: "stream_message_deleted"; streamId: string; messageId: string }
  /** So many messages did not come here: this viewer was too slow, or away for longer than the last 50 messages. */
  | { type: "stream_messages_skipped"; streamId: string; count: number }
  /** A kind that this version does not know; `data` is the whole of it, as it came. */
  | { type: "other"; kind: string; streamId: string; data: any };

/** A live stream that is watched: `for await (const event of stream)` gives what its viewers are told. */
export class WatchedStream implements Source<StreamEvent> {
  private constructor();
  readonly id: string;
  /** What is known of it now. */
  readonly stream: Stream;
  readonly viewerCount: number;
  /** The seq of the newest message received: give it to `watch` to continue another time. */
  readonly lastSeq: number;
  /** Whether events come as they happen; false while the connection is cut. */
  readonly live: boolean;
  /** How many events its consumer was too slow for. */
  readonly dropped: number;
  next(options?: Abortable): Promise<IteratorResult<StreamEvent, undefined>>;
  listen(handler: (event: StreamEvent) => unknown, onEnd?: (error: ClientError | null) => unknown): () => void;
  [Symbol.asyncIterator](): AsyncIterator<StreamEvent, undefined>;
  unwatch(): Promise<void>;

  send(content: string, options?: Timed & { clientMsgId?: string }): Promise<StoredStreamMessage>;
  react(emoji: string, options?: Timed): Promise<void>;
  history(options?: StreamMessagePaging): Promise<StreamMessages>;
  playback(options?: Abortable): Promise<Playback>;

  delete(messageId: string, options?: Abortable): Promise<void>;
  mute(userId: string, options?: Limited): Promise<StreamSanctioned>;
  ban(userId: string, options?: Limited): Promise<StreamSanctioned>;
  lift(userId: string, action: StreamAction, options?: Abortable): Promise<void>;
}

// REST, by subject.

export interface StreamMessagePaging extends CursorPaging {
  /** What comes first (`newest`). A cursor goes with the order of the page before. */
  order?: "newest" | "oldest";
}

/** What is left out of a change stays. */
export interface StreamFields extends Timed {
  description?: string;
  category?: StreamCategory;
  tags?: string[];
  /** Seen by its owner alone. */
  isPrivate?: boolean;
  isRecorded?: boolean;
  /** A person writes once in so many seconds. */
  slowModeSeconds?: number;
  /** It is announced for then; null makes it a draft again. */
  scheduledAt?: string | Date | null;
}

export interface WantedStreams extends Paging {
  /** Words of title, tags or description. */
  q?: string;
  isLive?: boolean;
  category?: StreamCategory;
  tag?: string;
  userId?: string;
  /** Those on the air first, by how many watch (`viewers`), or by when they began. */
  sort?: "viewers" | "newest";
}

export class LiveCalls {
  private constructor();
  list(options?: WantedStreams): Promise<Streams>;
  get(streamId: string, options?: Abortable): Promise<Stream>;
  mine(options?: Paging): Promise<OwnStreams>;
  create(title: string, options?: StreamFields): Promise<Stream>;
  update(streamId: string, changes: StreamFields & { title?: string }): Promise<Stream>;
  delete(streamId: string, options?: Abortable): Promise<void>;
  start(streamId: string, options?: Abortable): Promise<Stream>;
  stop(streamId: string, options?: Abortable): Promise<Stream>;
  key(options?: Abortable): Promise<StreamKey>;
  regenerateKey(options?: Abortable): Promise<StreamKey>;
  health(streamId: string, options?: Abortable): Promise<StreamHealth>;
  deleteRecording(streamId: string, options?: Abortable): Promise<void>;
  playback(streamId: string, options?: Abortable): Promise<Playback>;
  recording(streamId: string, options?: Abortable): Promise<Recording>;
  recordingMessages(streamId: string, options?: CursorPaging & { fromS?: number }): Promise<RecordingMessages>;
  messages(streamId: string, options?: StreamMessagePaging): Promise<StreamMessages>;
  walk(
    streamId: string,
    options?: Abortable & { page?: number; order?: "newest" | "oldest" },
  ): AsyncGenerator<StreamMessage, void, undefined>;
}

export class LiveModerationCalls {
  private constructor();
  deleteMessage(streamId: string, messageId: string, options?: Abortable): Promise<void>;
  mute(streamId: string, userId: string, options?: Limited): Promise<StreamSanctioned>;
  ban(streamId: string, userId: string, options?: Limited): Promise<StreamSanctioned>;
  sanction(streamId: string, userId: string, action: StreamAction, options?: Limited): Promise<StreamSanctioned>;
  lift(streamId: string, userId: string, action: StreamAction, options?: Abortable): Promise<void>;
  sanctions(streamId: string, options?: CursorPaging & { includeEnded?: boolean }): Promise<StreamSanctions>;
  addModerator(streamId: string, userId: string, options?: Abortable): Promise<void>;
  removeModerator(streamId: string, userId: string, options?: Abortable): Promise<void>;
  moderators(streamId: string, options?: Paging): Promise<StreamModerators>;
}
