/**
 * Runs one scenario with the JavaScript SDK, in Node and in browsers alike; README.md describes the format.
 *
 * `sdk` is the module, `people` the signed-in people of the scenario by name, `harness(action)` does what only who
 * started the run can do to the network: `cut`, `hold`.
 */
import { at, mismatch, resolve, show } from "./matching.mjs";

const STEP_MS = 20_000;
// Less than a step, so that it can say what it was waiting for.
const EVENTUALLY_MS = 15_000;
const POLL_MS = 50;

// Which arguments of a call stand by position, in order; all others are options.
const POSITIONS = {
  "client.register": ["username", "email", "password"],
  "client.login": ["email", "password"],
  "client.logout_session": ["session_id"],
  "client.user": ["user_id"],
  "client.block": ["user_id"],
  "client.unblock": ["user_id"],
  "client.follow": ["user_id"],
  "client.unfollow": ["user_id"],
  "client.followers": ["user_id"],
  "client.following": ["user_id"],
  "conversations.create": ["kind", "name", "member_ids"],
  "conversations.get": ["room_id"],
  "conversations.update": ["room_id"],
  "conversations.delete": ["room_id"],
  "conversations.join": ["room_id"],
  "conversations.leave": ["room_id"],
  "conversations.add_member": ["room_id", "user_id"],
  "conversations.remove_member": ["room_id", "user_id"],
  "conversations.history": ["room_id"],
  "conversations.search": ["room_id", "q"],
  "conversations.pins": ["room_id"],
  "conversations.send": ["room_id", "content"],
  "moderation.sanction": ["room_id", "user_id", "action"],
  "moderation.lift": ["room_id", "user_id", "action"],
  "moderation.list": ["room_id"],
  "moderation.set_role": ["room_id", "user_id", "role"],
  "live.get": ["stream_id"],
  "live.create": ["title"],
  "live.update": ["stream_id"],
  "live.delete": ["stream_id"],
  "live.start": ["stream_id"],
  "live.stop": ["stream_id"],
  "live.playback": ["stream_id"],
  "live.messages": ["stream_id"],
  "live_moderation.delete_message": ["stream_id", "message_id"],
  "live_moderation.mute": ["stream_id", "user_id"],
  "live_moderation.ban": ["stream_id", "user_id"],
  "live_moderation.lift": ["stream_id", "user_id", "action"],
  "live_moderation.sanctions": ["stream_id"],
  "live_moderation.add_moderator": ["stream_id", "user_id"],
  "live_moderation.remove_moderator": ["stream_id", "user_id"],
  "live_moderation.moderators": ["stream_id"],
  "notifications.mark_read": ["ids"],
  "notifications.set_preferences": ["wanted"],
  "chat.join": ["room_id"],
  "chat.watch": ["stream_id"],
  "chat.set_presence": ["status"],
  "chat.request": ["command", "arguments"],
  "room.send": ["content"],
  "room.edit": ["message_id", "content"],
  "room.delete": ["message_id"],
  "room.add_reaction": ["message_id", "emoji"],
  "room.remove_reaction": ["message_id", "emoji"],
  "room.pin": ["message_id"],
  "room.unpin": ["message_id"],
  "room.thread": ["parent_id"],
  "room.search": ["q"],
  "room.mark_read": ["seq"],
  "room.typing": ["is_typing"],
  "room.set_role": ["user_id", "role"],
  "room.warn": ["user_id"],
  "room.mute": ["user_id"],
  "room.kick": ["user_id"],
  "room.ban": ["user_id"],
  "room.lift": ["user_id", "action"],
  "stream.send": ["content"],
  "stream.react": ["emoji"],
  "stream.delete": ["message_id"],
  "stream.mute": ["user_id"],
  "stream.ban": ["user_id"],
  "stream.lift": ["user_id", "action"],
};

/** Resolves with `null` when the scenario went as written, else with a sentence. */
export async function run(scenario, { sdk, people, harness }) {
  const stage = new Stage(sdk, people, harness);
  try {
    for (const [index, step] of scenario.steps.entries()) {
      try {
        await within(STEP_MS, stage.perform(step));
      } catch (error) {
        return `step ${index + 1} ${show(step)}: ${describe(error)}`;
      }
    }
    return null;
  } finally {
    await stage.close();
  }
}

class Stage {
  constructor(sdk, people, harness) {
    this.sdk = sdk;
    this.harness = harness;
    this.known = { ...people };
    this.clients = new Map();
    this.notices = new Map();
    this.devices = new Map();
    this.started = new Map();
    for (const [name, person] of Object.entries(people)) {
      const tokens = { accessToken: person.access_token, refreshToken: person.refresh_token };
      this.clients.set(name, new sdk.Client(person.url, { tokens }));
      this.notices.set(name, this.clients.get(name).notifications.stream());
    }
  }

  async close() {
    for (const work of this.started.values()) work.catch(() => {});
    await Promise.all([...this.clients.values()].map((client) => client.close()));
  }

  async perform(written) {
    const kind = Object.keys(STEPS).find((name) => name in written);
    if (!kind) throw new Error("there is no such step");
    // The arguments of a call are made anew for each time it is made.
    const { with: args = {}, ...rest } = written;
    await STEPS[kind](this, { ...resolve(rest, this.known), with: args });
  }

  /** The chat of a step's person, on the device it names. */
  device(step) {
    const found = this.devices.get(deviceName(step));
    if (!found) throw new Error(`${deviceName(step)} is not connected`);
    return found;
  }

  /** The room of a step: the one it names, else the one joined last on that device. */
  room(step) {
    const device = this.device(step);
    const room = device.rooms.get(step.room ?? device.latest);
    if (!room) throw new Error(`${deviceName(step)} has not joined that room`);
    return room;
  }

  /** The stream watched last on a step's device. */
  stream(step) {
    const { stream } = this.device(step);
    if (!stream) throw new Error(`${deviceName(step)} watches no stream`);
    return stream;
  }

  target(subject, step) {
    if (subject === "chat") return this.device(step).chat;
    if (subject === "room") return this.room(step);
    if (subject === "stream") return this.stream(step);
    const client = this.clients.get(step.as);
    return subject === "client" ? client : client[camelName(subject)];
  }

  async call(step, args) {
    const [subject, method] = step.call.split(".");
    const target = this.target(subject, step);
    const options = { ...args };
    const given = (POSITIONS[step.call] ?? []).map((name) => {
      const value = options[name];
      delete options[name];
      return value;
    });
    if (step.call === "room.upload_attachment") {
      given.push(new Blob([options.text], { type: options.mime_type }));
      delete options.text;
      delete options.mime_type;
    }
    if (step.call === "room.download_attachment") {
      return (await target.downloadAttachment(options.attachment)).text();
    }
    const found = await target[camelName(method)](...given, camelOptions(options));
    if (step.call === "chat.join") {
      const device = this.device(step);
      device.rooms.set(found.id, found);
      device.latest = found.id;
      return undefined;
    }
    if (step.call === "chat.watch") {
      this.device(step).stream = found;
      return undefined;
    }
    return snake(found);
  }
}

/** Each performs one kind of step. */
const STEPS = {
  async connect(stage, step) {
    const chat = await stage.clients.get(step.as).connect(camelOptions(step.connect));
    const events = chat.events();
    stage.devices.set(deviceName(step), { chat, rooms: new Map(), latest: null, stream: null, events });
  },

  async disconnect(stage, step) {
    await stage.device(step).chat.close();
  },

  async call(stage, step) {
    const once = async (number) => {
      const args = resolve(step.with, { ...stage.known, n: number });
      if (step.fails) return fails(step.fails, () => stage.call(step, args));
      const found = await stage.call(step, args);
      expect(step.gives, found);
      for (const [name, path] of Object.entries(step.keep ?? {})) stage.known[name] = at(path, found);
    };
    const perform = () => Promise.all(Array.from({ length: step.times ?? 1 }, (_, index) => once(index + 1)));
    if (step.start) {
      const work = perform();
      work.catch(() => {}); // told at the `finish`
      stage.started.set(step.start, work);
    } else {
      await (step.eventually ? eventually(perform) : perform());
    }
  },

  async finish(stage, step) {
    await stage.started.get(step.finish);
  },

  /** The next events of a room, these and in this order. */
  async next(stage, step) {
    const room = stage.room(step);
    for (const expected of [step.next].flat()) {
      const { done, value } = await room.next();
      if (done) throw new Error(`the room has ended, before ${show(expected)}`);
      expect(expected, plainEvent(value));
    }
  },

  /** All events of a room up to this seq, none missing and none twice. */
  async through(stage, step) {
    const room = stage.room(step);
    while (room.lastSeq < step.through) {
      const before = room.lastSeq;
      const { done, value } = await room.next();
      if (done) throw new Error(`the room has ended after ${before}`);
      if (value.seq !== before + 1) throw new Error(`${value.seq} came after ${before}`);
    }
  },

  /** Such an event of a stream comes, whatever comes before it. */
  async sees(stage, step) {
    await hear(stage.stream(step), step.sees);
  },

  /** The next messages of a stream, these and in this order, whatever else happens in it. */
  async reads(stage, step) {
    const stream = stage.stream(step);
    for (const expected of [step.reads].flat()) {
      for (;;) {
        const { done, value } = await stream.next();
        if (done) throw new Error(`the stream has ended, before ${show(expected)}`);
        if (value.type !== "stream_message") continue;
        expect(expected, plainEvent(value));
        break;
      }
    }
  },

  /** No more events of a room, or of a stream where no room was joined; with an error, or in peace. */
  async ends(stage, step) {
    const source = stage.device(step).rooms.size > 0 ? stage.room(step) : stage.stream(step);
    const drain = async () => {
      while (!(await source.next()).done);
    };
    await (step.ends === true ? drain() : fails(step.ends, drain));
  },

  /** An event without a seq comes, whatever comes before it. */
  async hears(stage, step) {
    await hear(stage.device(step).events, step.hears);
  },

  async notified(stage, step) {
    await hear(stage.notices.get(step.as), step.notified);
  },

  /** Properties, as they are now or become. */
  async shows(stage, step) {
    await eventually(async () => {
      for (const [path, expected] of Object.entries(step.shows)) {
        const [subject, name] = path.split(".");
        expect(expected, snake(stage.target(subject, step)[camelName(name)]), path);
      }
    });
  },

  async network(stage, step) {
    await stage.harness(step.network);
  },
};

async function hear(events, expected) {
  for (;;) {
    const { done, value } = await events.next();
    if (done) throw new Error("the events have ended");
    if (mismatch(expected, plainEvent(value)) === null) return;
  }
}

async function fails(expected, work) {
  try {
    await work();
  } catch (error) {
    if (typeof error.code !== "string") throw error; // no refusal, but a mistake
    const kinds = [];
    for (let kind = error.constructor; kind?.name; kind = Object.getPrototypeOf(kind)) kinds.push(kind.name);
    const { error: name, ...fields } = expected;
    if (name && !kinds.includes(name)) throw new Unexpected(`it failed with ${kinds[0]}: ${error.message}`);
    expect(fields, {
      code: error.code,
      status: error.status,
      retryable: error.retryable,
      retry_after: error.retryAfter,
      details: error.details,
    });
    return;
  }
  throw new Unexpected(`it did not fail with ${show(expected)}`);
}

/** Again and again until it goes as expected; what it failed with last, when it never does. */
async function eventually(work) {
  const deadline = Date.now() + EVENTUALLY_MS;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      const known = error instanceof Unexpected || typeof error.code === "string";
      if (!known || Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }
}

class Unexpected extends Error {}

function expect(expected, value, where) {
  if (expected === undefined) return;
  const found = mismatch(expected, value, where);
  if (found) throw new Unexpected(found);
}

async function within(ms, work) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`it took longer than ${ms / 1000} s`)), ms);
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

function deviceName(step) {
  return step.on ? `${step.as} on ${step.on}` : step.as;
}

function describe(error) {
  return error.code ? `${error.name} ${error.code}: ${error.message}` : error.message;
}

/** An event as it is on the wire. */
function plainEvent(event) {
  return event.type === "other" ? { type: event.kind, data: event.data } : snake(event);
}

function camelName(name) {
  return name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());
}

function camelOptions(options) {
  return Object.fromEntries(Object.entries(options).map(([name, value]) => [camelName(name), value]));
}

function snake(value) {
  if (Array.isArray(value)) return value.map(snake);
  if (typeof value !== "object" || value === null) return value;
  const name = (one) => one.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return Object.fromEntries(
    Object.entries(value).map(([one, member]) => [name(one), one === "data" ? member : snake(member)]),
  );
}
