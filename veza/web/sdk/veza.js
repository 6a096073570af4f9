/**
 * The JavaScript SDK: accounts, rooms and live streams over REST, and as they happen over one socket that heals itself.
 *
 *     import { Client } from "/sdk/veza.js";
 *
 *     const veza = new Client(location.origin);
 *     await veza.login("ada@example.com", "Correct-Horse-9");
 *     const chat = await veza.connect();
 *     const room = await chat.join(roomId);
 *     await room.send("hi");
 *     for await (const event of room) console.log(event.seq, event.type);
 */

export { Chat } from "./chat.js";
export { Client } from "./client.js";
export {
  Abuse,
  Banned,
  ChatClosed,
  ClientError,
  CommandTimeout,
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
export { Room } from "./room.js";
export { WatchedStream } from "./stream.js";
export { Subscription } from "./subscription.js";
