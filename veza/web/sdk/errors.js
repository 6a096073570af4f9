/**
 * What the client raises, all under `ClientError`.
 *
 * `code` is the server's stable word in lower case, the same over REST and the socket. `retryable` says whether
 * the same call may succeed later without a change.
 */

export class ClientError extends Error {
  static defaultCode = "client_error";
  static retryable = false;

  /**
   * `status` is the HTTP status or the WebSocket close code, where there was one; `retryAfter` is in seconds;
   * `requestId` is the server's; `details` names the fields of a refused body: `[{field, message}]`.
   */
  constructor(message, { code, status, retryAfter, requestId, details, cause } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code ?? this.constructor.defaultCode;
    this.status = status;
    this.retryAfter = retryAfter;
    this.requestId = requestId;
    this.details = details ?? [];
  }

  get name() {
    return NAMES.get(this.constructor) ?? this.constructor.name;
  }

  get retryable() {
    return this.constructor.retryable;
  }
}

/** The server, or the client before it, found the call malformed. */
export class InvalidArgument extends ClientError {
  static defaultCode = "invalid_argument";
}

/** No credential, or one that is not valid any more and could not be refreshed. */
export class Unauthenticated extends ClientError {
  static defaultCode = "unauthenticated";
}

/** Known, and not allowed. */
export class PermissionDenied extends ClientError {
  static defaultCode = "permission_denied";
}

/** A public room that one can see and has not joined. */
export class NotAMember extends PermissionDenied {
  static defaultCode = "not_a_member";
}

/** One may read in the room and not write; the message says until when. */
export class Muted extends PermissionDenied {
  static defaultCode = "muted";
}

/** Out of the room, or of the platform, and not let in again; the message says until when. */
export class Banned extends PermissionDenied {
  static defaultCode = "banned";
}

/** One of the two has blocked the other: no direct messages. */
export class UserBlocked extends PermissionDenied {
  static defaultCode = "user_blocked";
}

/** No such thing, or not visible to this account. */
export class NotFound extends ClientError {
  static defaultCode = "not_found";
}

/** No such room, or one that this account cannot see. */
export class RoomNotFound extends NotFound {
  static defaultCode = "room_not_found";
}

/** No such message in this room (any more): never sent there, deleted, or gone by the room's retention. */
export class MessageNotFound extends NotFound {
  static defaultCode = "message_not_found";
}

/** It contradicts what is there. */
export class Conflict extends ClientError {
  static defaultCode = "conflict";
}

/** Refused for now and not done; `retryAfter` says when to try again. */
export class RateLimited extends ClientError {
  static defaultCode = "rate_limited";
  static retryable = true;
}

/** The server cannot do it right now. */
export class Unavailable extends ClientError {
  static defaultCode = "unavailable";
  static retryable = true;
}

/** The server failed in a way it did not expect; whether the call was done is not known. */
export class ServerError extends ClientError {
  static defaultCode = "internal";
  static retryable = true;
}

/** No connection, or cut before the answer: whether the call was done is not known. */
export class ConnectionLost extends ClientError {
  static defaultCode = "connection_lost";
  static retryable = true;
}

/** No answer in time: whether the call was done is not known. */
export class CommandTimeout extends ClientError {
  static defaultCode = "timeout";
  static retryable = true;
}

/** The session was revoked or the account banned (close code 4003). Signing in again is the only way on. */
export class SessionEnded extends ClientError {
  static defaultCode = "session_ended";
}

/** The server closed the socket for abuse (close code 4029); the client does not come back by itself. */
export class Abuse extends ClientError {
  static defaultCode = "abuse";
}

/** The peer does not speak `veza.v1` as written. */
export class ProtocolError extends ClientError {
  static defaultCode = "protocol";
}

/** The chat was closed by this program. */
export class ChatClosed extends ClientError {
  static defaultCode = "closed";
}

// Written out, so that a minified program still logs names one can search for.
const NAMES = new Map(
  Object.entries({
    ClientError,
    InvalidArgument,
    Unauthenticated,
    PermissionDenied,
    NotAMember,
    Muted,
    Banned,
    UserBlocked,
    NotFound,
    RoomNotFound,
    MessageNotFound,
    Conflict,
    RateLimited,
    Unavailable,
    ServerError,
    ConnectionLost,
    CommandTimeout,
    SessionEnded,
    Abuse,
    ProtocolError,
    ChatClosed,
  }).map(([name, kind]) => [kind, name]),
);
