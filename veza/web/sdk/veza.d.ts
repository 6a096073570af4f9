/** Types of the JavaScript SDK. Ids are UUIDs as text, times RFC 3339 in UTC; what is null is not known or not set. */

import type {
  Followers,
  Following,
  FollowState,
  LiveCalls,
  LiveModerationCalls,
  WatchedStream,
} from "./live.js";

export * from "./live.js";

// Errors.

export interface FieldError {
  field: string;
  message: string;
}

export interface ErrorFields {
  code?: string;
  status?: number;
  retryAfter?: number;
  requestId?: string;
  details?: FieldError[];
  cause?: unknown;
}

/** Base of all. `code` is the server's stable word in lower case, the same over REST and the socket. */
export class ClientError extends Error {
  constructor(message: string, fields?: ErrorFields);
  readonly code: string;
  /** The HTTP status or the WebSocket close code, where there was one. */
  readonly status: number | undefined;
  /** Seconds. */
  readonly retryAfter: number | undefined;
  /** The server's, for a report to its operator. */
  readonly requestId: string | undefined;
  readonly details: FieldError[];
  /** Whether the same call may succeed later without a change. */
  readonly retryable: boolean;
}
export class InvalidArgument extends ClientError {}
export class Unauthenticated extends ClientError {}
export class PermissionDenied extends ClientError {}
export class NotAMember extends PermissionDenied {}
export class Muted extends PermissionDenied {}
export class Banned extends PermissionDenied {}
export class UserBlocked extends PermissionDenied {}
export class NotFound extends ClientError {}
export class RoomNotFound extends NotFound {}
export class MessageNotFound extends NotFound {}
export class Conflict extends ClientError {}
export class RateLimited extends ClientError {}
export class Unavailable extends ClientError {}
export class ServerError extends ClientError {}
export class ConnectionLost extends ClientError {}
export class CommandTimeout extends ClientError {}
export class SessionEnded extends ClientError {}
export class Abuse extends ClientError {}
export class ProtocolError extends ClientError {}
export class ChatClosed extends ClientError {}

// People and sessions.

/** `refreshToken` is null in cookie mode. */
export interface Tokens {
  accessToken: string;
  refreshToken: string | null;
}

export interface Person {
  id: string;
  username: string;
  role?: string | null;
  displayName?: string | null;
  bio?: string | null;
  avatarUrl?: string | null;
  createdAt?: string | null;
}

export interface Account extends Person {
  email: string;
  doNotSell?: boolean;
}

export interface Session {
  id: string;
  device: string | null;
  ip: string | null;
  createdAt: string;
  lastSeenAt: string | null;
  current: boolean;
}

export interface Health {
  status: string;
  checks?: Record<string, unknown>;
}

// Rooms and messages.

export type RoomKind = "direct" | "group" | "public";
export type Presence = "online" | "away" | "busy" | "offline";
export type Status = "online" | "away" | "busy" | "invisible";
export type Role = "moderator" | "member";
export type Action = "warn" | "mute" | "kick" | "ban";
export type Lasting = "mute" | "ban";

export interface Attachment {
  id: string;
  name: string;
  mimeType: string;
  sizeBytes: number;
}

export interface Reaction {
  emoji: string;
  count: number;
  me: boolean;
}

/** `content` is null once the message was deleted or erased. */
export interface Message {
  roomId: string;
  seq: number;
  id: string;
  sender: Person;
  content: string | null;
  parentId: string | null;
  clientMsgId: string | null;
  attachments: Attachment[];
  /** The ids of the members whom it names with `@`. */
  mentions?: string[];
  createdAt: string;
  editedAt?: string | null;
  deletedAt?: string | null;
  /** Reactions, pins and replies are told by history, threads, pins and searches. */
  reactions?: Reaction[];
  pinned?: boolean;
  replyCount?: number;
}

/** The server has the message for good; `duplicate` says that an earlier attempt had stored it. */
export interface Stored {
  messageId: string;
  seq: number;
  createdAt: string;
  duplicate: boolean;
}

/** The server has the change for good: `seq` is the room's event that tells of it. */
export interface Changed {
  seq: number;
}

export interface Member {
  user: Person;
  role: string;
  presence: Presence | null;
  lastReadSeq: number;
}

export interface Members {
  members: Member[];
}

/** `firstSeq` is the lowest seq that the room's retention has kept. */
export interface Messages {
  messages: Message[];
  hasMore: boolean;
  firstSeq?: number;
}

export interface HistoryPage extends Messages {
  nextCursor: string | null;
}

export interface Conversation {
  id: string;
  type: RoomKind;
  name: string | null;
  ownerId: string;
  createdAt: string;
  lastSeq: number;
  lastReadSeq: number;
  unreadCount: number;
  role: string;
  retentionDays?: number | null;
  other?: Person | null;
  presence?: Presence | null;
  lastMessage?: Message | null;
  members?: Member[] | null;
}

export interface Conversations {
  conversations: Conversation[];
  total: number;
}

export interface PublicRoom {
  id: string;
  name: string | null;
  createdAt: string;
  memberCount: number;
  joined: boolean;
}

export interface PublicRooms {
  conversations: PublicRoom[];
  total: number;
}

/** `active` says whether it holds now: until `until`, or with null until it is lifted. */
export interface Sanction {
  id: string;
  user: Person;
  action: Action;
  reason: string;
  by: Person;
  until: string | null;
  createdAt: string;
  liftedAt: string | null;
  active: boolean;
}

/** The sanction with this id is in force, and the room's event `seq` has told of it. */
export interface Sanctioned {
  id: string;
  userId: string;
  action: Action;
  seq: number;
}

export interface Sanctions {
  sanctions: Sanction[];
  total: number;
}

export interface Blocks {
  blocks: { user: Person; createdAt: string }[];
  total: number;
}

export interface Notification {
  id: string;
  kind: string;
  /** What it holds depends on `kind`; its names are the server's. */
  data: any;
  createdAt: string;
  readAt?: string | null;
}

export interface Notifications {
  notifications: Notification[];
  /** Of all, not only of the page. */
  unreadCount: number;
  total: number;
  nextCursor: string | null;
  hasMore: boolean;
}

/** How many were not read before, and how many still are not. */
export interface MarkedRead {
  marked: number;
  unreadCount: number;
}

// Events.

interface Durable {
  roomId: string;
  seq: number;
  id: string;
  sender: Person;
  createdAt: string;
}

export type RoomEvent =
  | ({ type: "message" } & Message)
  | (Durable & { type: "message_edited"; messageId: string; content: string | null; editedAt: string })
  | (Durable & { type: "message_deleted"; messageId: string })
  | (Durable & { type: "reaction_added"; messageId: string; emoji: string })
  | (Durable & { type: "reaction_removed"; messageId: string; emoji: string })
  | (Durable & { type: "message_pinned"; messageId: string })
  | (Durable & { type: "message_unpinned"; messageId: string })
  | (Durable & { type: "member_joined"; user: Person; role: string })
  | (Durable & { type: "member_left"; user: Person; reason: "left" | "removed" | "kicked" | "banned" })
  | (Durable & { type: "room_updated"; name: string | null; retentionDays?: number | null; member?: MemberChange })
  | (Durable & { type: "room_deleted" })
  /** The events `fromSeq` to `seq` are gone by the room's retention before this reader got them. */
  | { type: "events_expired"; roomId: string; fromSeq: number; seq: number }
  /** A kind that this version does not know; `data` is the whole of it, as it came. */
  | { type: "other"; kind: string; roomId: string; seq: number; data: any };

/** A member as they are now. */
export interface MemberChange {
  user: Person;
  role: string;
  mutedUntil: string | null;
}

export type ChatEvent =
  | { type: "typing"; roomId: string; userId: string; isTyping: boolean }
  | { type: "presence"; roomId?: string; userId: string; status: Presence }
  | { type: "read"; roomId: string; userId: string; lastReadSeq: number }
  | ({ type: "notification" } & Notification)
  | { type: "connected"; sessionId: string | null; attempt: number }
  | { type: "disconnected"; reason: string; retryInMs: number }
  | { type: "other"; kind: string; data: any };

/** What ends a wait. An aborted call rejects with the signal's reason. */
export interface Abortable {
  signal?: AbortSignal;
}

export interface Timed extends Abortable {
  timeoutMs?: number;
}

export interface Paging extends Abortable {
  limit?: number;
  offset?: number;
}

export interface CursorPaging extends Abortable {
  limit?: number;
  cursor?: string | null;
}

export interface Source<T> extends AsyncIterable<T> {
  /** The next event, as an iterator gives it. Aborting the signal loses nothing. */
  next(options?: Abortable): Promise<IteratorResult<T, undefined>>;
  /**
   * Call `handler` for each event, one after another: a promise it returns is waited for. `onEnd` is called once,
   * with the error that ended the events or null. Returns a function that stops it.
   */
  listen(handler: (event: T) => unknown, onEnd?: (error: ClientError | null) => unknown): () => void;
}

/** Events without a place in a room's order. The oldest are dropped when the consumer is too slow. */
export class Subscription<T = ChatEvent> implements Source<T> {
  private constructor();
  /** How many were dropped. */
  readonly dropped: number;
  next(options?: Abortable): Promise<IteratorResult<T, undefined>>;
  listen(handler: (event: T) => unknown, onEnd?: (error: ClientError | null) => unknown): () => void;
  [Symbol.asyncIterator](): AsyncIterator<T, undefined>;
  close(): void;
}

/** A room that was joined: `for await (const event of room)` gives every durable event once, in order. */
export class Room implements Source<RoomEvent> {
  private constructor();
  readonly id: string;
  /** The seq up to which the consumer has been served: give it to `join` to continue another time. */
  readonly lastSeq: number | null;
  readonly backlog: number;
  readonly live: boolean;
  readonly firstSeq: number;
  readonly recovered: boolean;
  next(options?: Abortable): Promise<IteratorResult<RoomEvent, undefined>>;
  listen(handler: (event: RoomEvent) => unknown, onEnd?: (error: ClientError | null) => unknown): () => void;
  [Symbol.asyncIterator](): AsyncIterator<RoomEvent, undefined>;
  leave(): Promise<void>;

  send(
    content: string,
    options?: Timed & { clientMsgId?: string; parentId?: string | null; attachments?: (Attachment | string)[] },
  ): Promise<Stored>;
  edit(messageId: string, content: string, options?: Timed): Promise<Changed>;
  delete(messageId: string, options?: Timed): Promise<Changed>;
  addReaction(messageId: string, emoji: string, options?: Timed): Promise<Changed>;
  removeReaction(messageId: string, emoji: string, options?: Timed): Promise<Changed>;
  pin(messageId: string, options?: Timed): Promise<Changed>;
  unpin(messageId: string, options?: Timed): Promise<Changed>;
  history(options?: Timed & { limit?: number; beforeSeq?: number; afterSeq?: number }): Promise<Messages>;
  thread(parentId: string, options?: Timed & { afterSeq?: number; limit?: number }): Promise<Messages>;
  search(q: string, options?: CursorPaging): Promise<HistoryPage>;
  pins(options?: Abortable): Promise<Message[]>;
  markRead(seq: number, options?: Timed): Promise<unknown>;
  typing(isTyping: boolean, options?: Timed): Promise<void>;

  uploadAttachment(file: Blob, options?: Abortable & { name?: string }): Promise<Attachment>;
  downloadAttachment(attachment: Attachment | string, options?: Abortable): Promise<Blob>;

  members(options?: Timed): Promise<Members>;
  setRole(userId: string, role: Role, options?: Abortable): Promise<void>;
  warn(userId: string, options?: Reasoned): Promise<Sanctioned>;
  mute(userId: string, options?: Limited): Promise<Sanctioned>;
  kick(userId: string, options?: Reasoned): Promise<Sanctioned>;
  ban(userId: string, options?: Limited): Promise<Sanctioned>;
  lift(userId: string, action: Lasting, options?: Abortable): Promise<void>;
  sanctions(options?: Paging): Promise<Sanctions>;
}

export interface Welcome {
  /** Null, as `user`, for a socket that is anonymous. */
  sessionId: string | null;
  user: { id: string; username: string } | null;
  serverTime: string;
  heartbeatS: number;
  limits: { messageChars: number; frameBytes: number; messagesPerMinute: number };
}

/** One socket for all rooms and live streams, which comes back by itself. */
export class Chat {
  private constructor();
  readonly connected: boolean;
  /** Of the present connection. */
  readonly welcome: Welcome | null;
  readonly userId: string | null;
  /** Whether it is nobody's, and can only watch streams. */
  readonly anonymous: boolean;
  join(roomId: string, options?: Abortable & { lastSeq?: number | null }): Promise<Room>;
  /** Watch a live stream: from its last 50 messages on, or from those after `lastSeq`. */
  watch(streamId: string, options?: Abortable & { lastSeq?: number | null }): Promise<WatchedStream>;
  events(options?: { limit?: number }): Subscription<ChatEvent>;
  listen(handler: (event: ChatEvent) => unknown, onEnd?: (error: ClientError | null) => unknown): () => void;
  setPresence(status: Status, options?: Timed): Promise<unknown>;
  /** Milliseconds for one round trip. */
  ping(options?: Timed): Promise<number>;
  /** Send any command once; resolves with the reply's data as it came. */
  request(command: string, args?: Record<string, unknown>, options?: Timed): Promise<any>;
  close(): Promise<void>;
}

export interface ConnectOptions extends Abortable {
  /** How many events a room or a stream holds for its consumer (1,000). */
  buffer?: number;
  /** For one try of a command (10,000). */
  commandTimeoutMs?: number;
  /** For the first connection, for a join and for a watch (30,000). */
  patienceMs?: number;
  presence?: Status;
  /** Needs no sign-in, and can only watch live streams. */
  anonymous?: boolean;
}

// REST, by subject.

export interface Reasoned extends Abortable {
  reason?: string;
}

/** Without `durationS`, in seconds, it holds until it is lifted. */
export interface Limited extends Reasoned {
  durationS?: number;
}

export class ConversationCalls {
  private constructor();
  create(kind?: RoomKind, name?: string | null, memberIds?: string[], options?: Abortable): Promise<Conversation>;
  get(roomId: string, options?: Abortable): Promise<Conversation>;
  update(roomId: string, changes: Abortable & { name?: string; retentionDays?: number }): Promise<Conversation>;
  delete(roomId: string, options?: Abortable): Promise<void>;
  mine(options?: Paging): Promise<Conversations>;
  discover(options?: Paging & { q?: string }): Promise<PublicRooms>;
  public(options?: Paging & { q?: string }): Promise<PublicRooms>;
  join(roomId: string, options?: Abortable): Promise<void>;
  leave(roomId: string, options?: Abortable): Promise<void>;
  addMember(roomId: string, userId: string, options?: Abortable & { role?: Role }): Promise<void>;
  removeMember(roomId: string, userId: string, options?: Abortable): Promise<void>;
  history(roomId: string, options?: CursorPaging): Promise<HistoryPage>;
  walk(roomId: string, options?: Abortable & { page?: number }): AsyncGenerator<Message, void, undefined>;
  search(roomId: string, q: string, options?: CursorPaging): Promise<HistoryPage>;
  pins(roomId: string, options?: Abortable): Promise<Message[]>;
  send(
    roomId: string,
    content: string,
    options?: Abortable & { clientMsgId?: string; parentId?: string | null; attachments?: (Attachment | string)[] },
  ): Promise<Stored>;
}

export class ModerationCalls {
  private constructor();
  warn(roomId: string, userId: string, options?: Reasoned): Promise<Sanctioned>;
  mute(roomId: string, userId: string, options?: Limited): Promise<Sanctioned>;
  kick(roomId: string, userId: string, options?: Reasoned): Promise<Sanctioned>;
  ban(roomId: string, userId: string, options?: Limited): Promise<Sanctioned>;
  sanction(roomId: string, userId: string, action: Action, options?: Limited): Promise<Sanctioned>;
  lift(roomId: string, userId: string, action: Lasting, options?: Abortable): Promise<void>;
  list(roomId: string, options?: Paging): Promise<Sanctions>;
  setRole(roomId: string, userId: string, role: Role, options?: Abortable): Promise<void>;
}

export class AttachmentCalls {
  private constructor();
  upload(roomId: string, file: Blob, options?: Abortable & { name?: string }): Promise<Attachment>;
  download(roomId: string, attachment: Attachment | string, options?: Abortable): Promise<Blob>;
}

export class NotificationCalls {
  private constructor();
  list(options?: CursorPaging & { unread?: boolean }): Promise<Notifications>;
  markRead(ids?: Iterable<string>, options?: Abortable): Promise<MarkedRead>;
  preferences(options?: Abortable): Promise<Record<string, boolean>>;
  setPreferences(wanted: Record<string, boolean>, options?: Abortable): Promise<Record<string, boolean>>;
  stream(options?: { limit?: number }): Subscription<Notification>;
  listen(handler: (notification: Notification) => unknown): () => void;
}

/** A class that can be used as the browser's `WebSocket`, such as that of the package `ws`. */
export type WebSocketClass = new (url: string, protocols?: string[]) => any;

export interface ClientOptions {
  /** For one REST call (10,000). */
  timeoutMs?: number;
  /** Of an earlier sign-in. */
  tokens?: Tokens | null;
  /** Told of each new pair, null after a logout. */
  onTokens?: (tokens: Tokens | null) => void;
  /** Told of each notification, once. */
  onNotification?: (notification: Notification) => unknown;
  /** Leave the refresh token to the browser, in a cookie that no script can read. */
  cookies?: boolean;
  WebSocket?: WebSocketClass;
  fetch?: typeof fetch;
  /** The randomness of the backoff, in [0, 1). */
  chance?: () => number;
}

/** An account on one server, whose root is `baseUrl`. */
export class Client {
  constructor(baseUrl: string, options?: ClientOptions);
  readonly baseUrl: string;
  readonly tokens: Tokens | null;
  readonly conversations: ConversationCalls;
  readonly moderation: ModerationCalls;
  readonly attachments: AttachmentCalls;
  readonly notifications: NotificationCalls;
  readonly live: LiveCalls;
  readonly liveModeration: LiveModerationCalls;

  register(username: string, email: string, password: string, options?: Abortable): Promise<Account>;
  login(email: string, password: string, options?: Abortable): Promise<Account>;
  resume(): Promise<Account>;
  logout(options?: Abortable): Promise<void>;
  logoutSession(sessionId: string, options?: Abortable): Promise<void>;
  logoutAll(options?: Abortable): Promise<void>;
  sessions(options?: Abortable): Promise<Session[]>;

  me(options?: Abortable): Promise<Account>;
  user(userId: string, options?: Abortable): Promise<Person>;
  block(userId: string, options?: Abortable): Promise<void>;
  unblock(userId: string, options?: Abortable): Promise<void>;
  blocks(options?: Paging): Promise<Blocks>;
  follow(userId: string, options?: Abortable): Promise<FollowState>;
  unfollow(userId: string, options?: Abortable): Promise<FollowState>;
  followers(userId: string, options?: Paging): Promise<Followers>;
  following(userId: string, options?: Paging): Promise<Following>;
  setPresence(status: Status, options?: Timed): Promise<void>;

  health(options?: Abortable & { deep?: boolean }): Promise<Health>;
  chatToken(options?: Abortable): Promise<string>;
  connect(options?: ConnectOptions): Promise<Chat>;
  close(): Promise<void>;
}
