/** Frames and bodies as they are read and written. On the wire names are snake_case, in programs camelCase. */

import { ProtocolError } from "./errors.js";

// Their keys, or those of what they hold, are words of the data and no names of ours.
const OPAQUE = new Set(["data", "details", "checks", "counts"]);
const DURABLE = new Set([
  "message",
  "message_edited",
  "message_deleted",
  "reaction_added",
  "reaction_removed",
  "message_pinned",
  "message_unpinned",
  "member_joined",
  "member_left",
  "room_updated",
  "room_deleted",
]);
const STREAM = new Set([
  "stream_message",
  "stream_started",
  "stream_stopped",
  "stream_updated",
  "viewer_count",
  "stream_reactions",
  "stream_message_deleted",
  "stream_messages_skipped",
]);
const TRANSIENT = new Set(["typing", "presence", "read", "notification"]);

const camelNames = new Map();

function camelName(name) {
  let found = camelNames.get(name);
  if (found === undefined) {
    found = name.replace(/_([a-z0-9])/g, (_, letter) => letter.toUpperCase());
    // The server's vocabulary is small; what would fill this up is no vocabulary.
    if (camelNames.size < 1000) camelNames.set(name, found);
  }
  return found;
}

/** A value from the wire with its names in camelCase. */
export function camel(value) {
  if (Array.isArray(value)) return value.map(camel);
  if (typeof value !== "object" || value === null) return value;
  const found = {};
  for (const [name, member] of Object.entries(value)) {
    found[camelName(name)] = OPAQUE.has(name) ? member : camel(member);
  }
  return found;
}

/** What is to be sent, without the members that are undefined or null. */
export function given(values) {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined && value !== null));
}

/** The JSON object in a frame. Throws `ProtocolError`. */
export function readFrame(text) {
  let frame;
  try {
    frame = JSON.parse(text);
  } catch (error) {
    throw new ProtocolError("The server sent a frame that cannot be read.", { cause: error });
  }
  if (typeof frame !== "object" || frame === null || typeof frame.type !== "string") {
    throw new ProtocolError("The server sent a frame without a type.");
  }
  return frame;
}

/** Whether a frame is an event that has a place in a room's order. */
export function isDurable(frame) {
  return Number.isSafeInteger(frame.seq) && typeof frame.room_id === "string";
}

/** The data of a reply to `join_room`. Throws `ProtocolError`. */
export function readPage(data) {
  if (!Number.isSafeInteger(data?.seq) || !Array.isArray(data.events ?? [])) {
    throw new ProtocolError("The server's page of events cannot be read.");
  }
  return {
    seq: data.seq,
    events: (data.events ?? []).filter((event) => Number.isSafeInteger(event?.seq)),
    hasMore: data.has_more === true,
    firstSeq: data.first_seq ?? 1,
  };
}

/** A durable event. One of a kind this version does not know still counts in the order, as `other`. */
export function durable(frame, roomId) {
  if (DURABLE.has(frame.type)) return camel(frame);
  return { type: "other", kind: frame.type, roomId, seq: frame.seq, data: frame };
}

/** An event without a place in any order. */
export function transient(frame) {
  if (TRANSIENT.has(frame.type)) return camel(frame);
  return { type: "other", kind: frame.type, data: frame };
}

/** The data of a reply to `watch_stream`, its messages as they came. Throws `ProtocolError`. */
export function readWatched(data) {
  if (typeof data?.stream !== "object" || data.stream === null || !Array.isArray(data.messages ?? [])) {
    throw new ProtocolError("The server's answer about a stream cannot be read.");
  }
  return {
    stream: camel(data.stream),
    viewerCount: data.viewer_count ?? 0,
    messages: (data.messages ?? []).filter((message) => Number.isSafeInteger(message?.seq)),
  };
}

/** An event of a stream that is watched. */
export function streamEvent(frame, streamId) {
  if (STREAM.has(frame.type)) return camel(frame);
  return { type: "other", kind: frame.type, streamId, data: frame };
}

/** `http(s)://host/prefix` as the address of its socket; without a token, of one that is anonymous. */
export function socketUrl(baseUrl, token) {
  const url = new URL(baseUrl);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.pathname = `${url.pathname.replace(/\/$/, "")}/api/v1/ws`;
  url.search = token === null ? "?anonymous=1" : `?token=${encodeURIComponent(token)}`;
  return url.href;
}
