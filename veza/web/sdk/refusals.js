/** From what the server answers to what the client raises. */

import {
  Abuse,
  Banned,
  Conflict,
  ConnectionLost,
  InvalidArgument,
  MessageNotFound,
  Muted,
  NotAMember,
  NotFound,
  PermissionDenied,
  ProtocolError,
  RateLimited,
  RoomNotFound,
  ServerError,
  SessionEnded,
  Unauthenticated,
  Unavailable,
  UserBlocked,
} from "./errors.js";

const BY_CODE = new Map([
  ["invalid_argument", InvalidArgument],
  ["invalid_frame", InvalidArgument],
  ["unknown_command", InvalidArgument],
  ["message_too_long", InvalidArgument],
  ["unauthenticated", Unauthenticated],
  ["permission_denied", PermissionDenied],
  ["not_a_member", NotAMember],
  ["muted", Muted],
  ["banned", Banned],
  ["user_blocked", UserBlocked],
  ["not_found", NotFound],
  ["room_not_found", RoomNotFound],
  ["user_not_found", NotFound],
  ["stream_not_found", NotFound],
  ["message_not_found", MessageNotFound],
  ["conflict", Conflict],
  ["rate_limited", RateLimited],
  ["unavailable", Unavailable],
  ["internal", ServerError],
]);

const BY_STATUS = new Map([
  [401, Unauthenticated],
  [403, PermissionDenied],
  [404, NotFound],
  [408, Unavailable],
  [409, Conflict],
  [425, Unavailable],
  [429, RateLimited],
  [502, Unavailable],
  [503, Unavailable],
  [504, Unavailable],
]);

/** The error for what the server answered: by its code, else by the HTTP status. */
export function refusal(message, { code, status, ...more } = {}) {
  const word = code ? String(code).toLowerCase() : undefined;
  let kind = BY_CODE.get(word);
  if (kind === undefined && status !== undefined) {
    kind = BY_STATUS.get(status) ?? (status >= 500 ? ServerError : InvalidArgument);
  }
  return new (kind ?? ServerError)(message, { code: word, status, ...more });
}

/** The error for an error frame. */
export function wireRefusal(error) {
  return refusal(error.message || error.code, {
    code: error.code,
    retryAfter: error.retry_after,
    details: fieldDetails(error.details),
  });
}

/** `[{field, message}, …]`; other forms of details are not for programs. */
export function fieldDetails(details) {
  if (!Array.isArray(details)) return [];
  return details
    .filter((one) => typeof one === "object" && one !== null && "field" in one)
    .map((one) => ({ field: String(one.field), message: String(one.message ?? "") }));
}

// Framing that broke, or a frame too big: the same would happen again.
const BROKEN = new Set([1002, 1003, 1007, 1009, 1010]);

/** Why a socket closed; a `ConnectionLost` when coming back is right. */
export function closingError(code, reason) {
  const status = { status: code };
  if (code === 4003) return new SessionEnded(reason || "The session was ended by the server.", status);
  if (code === 4029) return new Abuse(reason || "The server closed the socket for abuse.", status);
  if (BROKEN.has(code)) return new ProtocolError(reason || `The socket was closed with code ${code}.`, status);
  return new ConnectionLost(`The connection was closed (${code}${reason ? ` ${reason}` : ""}).`, status);
}
