"""Runs scenarios with the Python SDK; README.md describes the format, `interpreter.mjs` is the same for JavaScript."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import msgspec
from matching import at, mismatch, resolve, show

from veza.client import Chat, Client, ClientError, Room, Subscription, Tokens, WatchedStream
from veza.client import events as e
from veza.client import live_events as live
from veza.client.live_models import StreamMessage
from veza.client.models import Message, Notification

STEP_S = 20.0
# Less than a step, so that it can say what it was waiting for.
EVENTUALLY_S = 15.0
POLL_S = 0.05

Step = dict[str, Any]
Harness = Callable[[str], Awaitable[None]]


class Unexpected(AssertionError):
    """It went otherwise than the scenario says."""


async def run(scenario: dict[str, Any], people: dict[str, Any], harness: Harness) -> str | None:
    """None when the scenario went as written, else a sentence."""
    async with AsyncExitStack() as stack:
        stage = _Stage(people, harness, stack)
        for number, step in enumerate(scenario["steps"], 1):
            try:
                async with asyncio.timeout(STEP_S):
                    await stage.perform(step)
            except (AssertionError, ClientError, TimeoutError) as error:
                return f"step {number} {show(step)}: {_describe(error)}"
    return None


class _Device:
    """One socket of a person, the rooms joined on it, and the stream watched last."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat
        self.rooms: dict[str, Room] = {}
        self.latest = ""
        self.stream: WatchedStream | None = None
        self.events = chat.events()


class _Stage:
    def __init__(self, people: dict[str, Any], harness: Harness, stack: AsyncExitStack) -> None:
        self.known: dict[str, Any] = dict(people)
        self.harness = harness
        self.stack = stack
        self.devices: dict[str, _Device] = {}
        self.started: dict[str, asyncio.Task[None]] = {}
        self.clients: dict[str, Client] = {}
        self.notices: dict[str, Any] = {}
        for name, person in people.items():
            client = Client(person["url"], tokens=Tokens(person["access_token"], person["refresh_token"]))
            self.clients[name] = client
            self.notices[name] = client.notifications.stream()
            stack.push_async_callback(client.aclose)

    async def perform(self, written: Step) -> None:
        kind = next((name for name in _STEPS if name in written), None)
        assert kind is not None, "there is no such step"
        # The arguments of a call are made anew for each time it is made.
        step = resolve({name: value for name, value in written.items() if name != "with"}, self.known)
        await _STEPS[kind](self, {**step, "with": written.get("with", {})})

    def device(self, step: Step) -> _Device:
        """The chat of a step's person, on the device it names."""
        found = self.devices.get(_device_name(step))
        assert found is not None, f"{_device_name(step)} is not connected"
        return found

    def room(self, step: Step) -> Room:
        """The room of a step: the one it names, else the one joined last on that device."""
        device = self.device(step)
        room = device.rooms.get(step.get("room", device.latest))
        assert room is not None, f"{_device_name(step)} has not joined that room"
        return room

    def stream(self, step: Step) -> WatchedStream:
        """The stream watched last on a step's device."""
        stream = self.device(step).stream
        assert stream is not None, f"{_device_name(step)} watches no stream"
        return stream

    def target(self, subject: str, step: Step) -> Any:
        match subject:
            case "chat":
                return self.device(step).chat
            case "stream":
                return self.stream(step)
            case "room":
                return self.room(step)
            case "client":
                return self.clients[step["as"]]
            case _:
                return getattr(self.clients[step["as"]], subject)

    async def call(self, step: Step, arguments: dict[str, Any]) -> Any:
        subject, _, method = step["call"].partition(".")
        target = self.target(subject, step)
        if step["call"] == "room.upload_attachment":
            arguments["source"] = arguments.pop("text").encode()
        if step["call"] == "room.download_attachment":
            async with target.download_attachment(**arguments) as file:
                return (await file.read()).decode()
        found = await getattr(target, method)(**arguments)
        if step["call"] == "chat.join":
            device = self.device(step)
            device.rooms[found.id] = found
            device.latest = found.id
            return None
        if step["call"] == "chat.watch":
            self.device(step).stream = found
            return None
        return _plain(found)

    # -- the kinds of steps ----------------------------------------------------------------------------------

    async def connect(self, step: Step) -> None:
        chat = self.clients[step["as"]].connect(**step["connect"])
        self.devices[_device_name(step)] = _Device(await self.stack.enter_async_context(chat))

    async def disconnect(self, step: Step) -> None:
        await self.device(step).chat.aclose()

    async def perform_call(self, step: Step) -> None:
        async def once(number: int) -> None:
            arguments = resolve(step["with"], {**self.known, "n": number})
            if "fails" in step:
                await _fails(step["fails"], lambda: self.call(step, arguments))
                return
            found = await self.call(step, arguments)
            if "gives" in step:
                _expect(step["gives"], found)
            for name, path in step.get("keep", {}).items():
                self.known[name] = at(path, found)

        async def perform() -> None:
            async with asyncio.TaskGroup() as group:
                for number in range(1, step.get("times", 1) + 1):
                    group.create_task(once(number))

        async def plainly() -> None:
            try:
                await perform()
            except* (AssertionError, ClientError) as errors:
                raise errors.exceptions[0] from None

        if "start" in step:
            task = asyncio.create_task(plainly())
            self.started[step["start"]] = task
            self.stack.push_async_callback(_ended, task)
        elif step.get("eventually"):
            await _eventually(plainly)
        else:
            await plainly()

    async def finish(self, step: Step) -> None:
        await self.started[step["finish"]]

    async def next(self, step: Step) -> None:
        """The next events of a room, these and in this order."""
        room = self.room(step)
        wanted = step["next"]
        for expected in wanted if isinstance(wanted, list) else [wanted]:
            try:
                event = await anext(room)
            except StopAsyncIteration:
                raise Unexpected(f"the room has ended, before {show(expected)}") from None
            _expect(expected, _event(event))

    async def through(self, step: Step) -> None:
        """All events of a room up to this seq, none missing and none twice."""
        room = self.room(step)
        while (before := room.last_seq or 0) < step["through"]:
            try:
                event = await anext(room)
            except StopAsyncIteration:
                raise Unexpected(f"the room has ended after {before}") from None
            if event.seq != before + 1:
                raise Unexpected(f"{event.seq} came after {before}")

    async def sees(self, step: Step) -> None:
        """Such an event of a stream comes, whatever comes before it."""
        await _hear(self.stream(step), step["sees"])

    async def reads(self, step: Step) -> None:
        """The next messages of a stream, these and in this order, whatever else happens in it."""
        stream = self.stream(step)
        wanted = step["reads"]
        for expected in wanted if isinstance(wanted, list) else [wanted]:
            async for event in stream:
                if isinstance(event, StreamMessage):
                    _expect(expected, _event(event))
                    break
            else:
                raise Unexpected(f"the stream has ended, before {show(expected)}")

    async def ends(self, step: Step) -> None:
        """No more events of a room, or of a stream where no room was joined; with an error, or in peace."""
        source = self.room(step) if self.device(step).rooms else self.stream(step)

        async def drain() -> None:
            async for _ in source:
                pass

        await (drain() if step["ends"] is True else _fails(step["ends"], drain))

    async def hears(self, step: Step) -> None:
        """An event without a seq comes, whatever comes before it."""
        await _hear(self.device(step).events, step["hears"])

    async def notified(self, step: Step) -> None:
        await _hear(self.notices[step["as"]], step["notified"])

    async def shows(self, step: Step) -> None:
        """Properties, as they are now or become."""

        async def look() -> None:
            for path, expected in step["shows"].items():
                subject, _, name = path.partition(".")
                _expect(expected, _plain(getattr(self.target(subject, step), name)), path)

        await _eventually(look)

    async def network(self, step: Step) -> None:
        await self.harness(step["network"])


_STEPS: dict[str, Callable[[_Stage, Step], Awaitable[None]]] = {
    "connect": _Stage.connect,
    "disconnect": _Stage.disconnect,
    "call": _Stage.perform_call,
    "finish": _Stage.finish,
    "next": _Stage.next,
    "through": _Stage.through,
    "sees": _Stage.sees,
    "reads": _Stage.reads,
    "ends": _Stage.ends,
    "hears": _Stage.hears,
    "notified": _Stage.notified,
    "shows": _Stage.shows,
    "network": _Stage.network,
}


async def _ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()  # told at the `finish`


async def _hear(events: Subscription[Any] | AsyncIterator[Any], expected: Any) -> None:
    async for event in events:
        if mismatch(expected, _event(event)) is None:
            return
    raise Unexpected("the events have ended")


async def _fails(expected: dict[str, Any], work: Callable[[], Awaitable[Any]]) -> None:
    try:
        await work()
    except ClientError as error:
        kinds = [kind.__name__ for kind in type(error).__mro__]
        fields = {name: value for name, value in expected.items() if name != "error"}
        if "error" in expected and expected["error"] not in kinds:
            raise Unexpected(f"it failed with {kinds[0]}: {error}") from error
        found = {name: getattr(error, name) for name in ("code", "status", "retryable", "retry_after")}
        details = [{"field": field, "message": message} for field, message in error.details]
        _expect(fields, {**found, "details": details})
        return
    raise Unexpected(f"it did not fail with {show(expected)}")


async def _eventually(work: Callable[[], Awaitable[None]]) -> None:
    """Again and again until it goes as expected; what it failed with last, when it never does."""
    deadline = time.monotonic() + EVENTUALLY_S
    while True:
        try:
            await work()
        except (Unexpected, ClientError):
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(POLL_S)
        else:
            return


def _expect(expected: Any, value: Any, where: str = "it") -> None:
    found = mismatch(expected, value, where)
    if found:
        raise Unexpected(found)


def _device_name(step: Step) -> str:
    return f"{step['as']} on {step['on']}" if "on" in step else str(step["as"])


def _describe(error: BaseException) -> str:
    if isinstance(error, ClientError):
        return f"{type(error).__name__} {error.code}: {error}"
    return str(error) or f"it took longer than {STEP_S:g} s"


def _plain(value: Any) -> Any:
    """As on the wire."""
    if isinstance(value, bytes | msgspec.Raw):
        return msgspec.json.decode(value)
    return msgspec.to_builtins(value)


_NAMES: dict[type, str] = {
    Message: "message",
    e.MessageEdited: "message_edited",
    e.MessageDeleted: "message_deleted",
    e.ReactionAdded: "reaction_added",
    e.ReactionRemoved: "reaction_removed",
    e.MessagePinned: "message_pinned",
    e.MessageUnpinned: "message_unpinned",
    e.MemberJoined: "member_joined",
    e.MemberLeft: "member_left",
    e.RoomUpdated: "room_updated",
    e.RoomDeleted: "room_deleted",
    e.EventsExpired: "events_expired",
    e.Typing: "typing",
    e.Presence: "presence",
    e.Read: "read",
    StreamMessage: "stream_message",
    live.StreamStarted: "stream_started",
    live.StreamStopped: "stream_stopped",
    live.StreamUpdated: "stream_updated",
    live.ViewerCount: "viewer_count",
    live.StreamReactions: "stream_reactions",
    live.StreamMessageDeleted: "stream_message_deleted",
    live.StreamMessagesSkipped: "stream_messages_skipped",
    Notification: "notification",
    e.Connected: "connected",
    e.Disconnected: "disconnected",
}


def _event(event: Any) -> Any:
    """An event as it is on the wire."""
    if isinstance(event, e.OtherEvent | e.OtherRoomEvent | live.OtherStreamEvent):
        return {"type": event.type, "data": event.data}
    return {"type": _NAMES[type(event)], **_plain(event)}
