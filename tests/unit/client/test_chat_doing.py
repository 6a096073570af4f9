"""What one does in a terminal chat: messages, files, people, notifications."""

from pathlib import Path
from typing import Any

import pytest
from chat_peer import USER
from chat_world import BOB, ROOM, SIGN_IN, World
from rest_peer import File, Form, ok

ROOM_PATH = f"conversations/{ROOM}"
DONE = (200, ok({"seq": 1}))


def spoken(out: str) -> list[str]:
    """The lines of messages, without the time of day."""
    return [line.partition(" ")[2] for line in out.splitlines() if "│" in line]


def asked(world: World, call: str) -> list[Any]:
    method, path = call.split(" ")
    return [body for name, _, body in world.rest.requests if name == f"{method} /api/v1/{path}"]


async def test_messages_are_changed_by_their_numbers(world: World) -> None:
    out = await world.commands(
        *("helo", "/edit hello", "/react 🎸", "/reply 1 me!", "/thread 1", "/edit #4 me too!", "/delete 4", "/history")
    )
    shown = spoken(out)
    assert shown[:3] == ["#1 ada │ helo", "✎ #1 ada │ hello (edited)", "#4 ada │ ↳ #1 ada “hello” me!"]
    assert "#1 ada │ hello (edited)  🎸 1  1 in /thread 1" in shown
    assert "✎ #4 ada │ me too! (edited)" in shown
    assert "#4 ada │ (deleted)" in shown
    assert "🎸  ada → #1 ada “hello”" in out
    assert "ada deleted #4 ada" in out


async def test_pins_and_reactions_come_and_go(world: World) -> None:
    world.peer.append(ROOM, "setlist")
    pinned = {**world.peer.messages.rows(ROOM)[0], "pinned": True}
    world.rest.routes[f"GET {ROOM_PATH}/pins"] = (200, ok({"messages": [pinned], "total": 1}))
    out = await world.commands("/pin 1", "/pins", "/unpin", "/react :wave:", "/unreact 1 :wave:")
    assert [command["type"] for command in world.peer.commands if "message_id" in command] == [
        *("pin_message", "unpin_message", "add_reaction", "remove_reaction"),
    ]
    assert "📌 ada pinned #1 ada “setlist”" in out
    assert "#1 ada │ setlist  📌" in spoken(out)
    assert "ada took :wave: back from #1 ada “setlist”" in out


async def test_a_search_and_the_history_go_on(world: World) -> None:
    for number in range(30):
        world.peer.append(ROOM, f"m{number}")
    rows = world.peer.messages.rows(ROOM)

    def search(body: Any, query: dict[str, str]) -> tuple[int, Any]:
        assert query["q"] == "set list"
        page = rows[:1] if "cursor" in query else rows[1:2]
        return 200, ok({"messages": page, "next_cursor": "c", "has_more": "cursor" not in query})

    world.rest.routes[f"GET {ROOM_PATH}/search"] = search
    out = await world.commands("/search set list", "/more", "/history 2", "/more")
    assert spoken(out)[-6:] == [f"#{number + 1} ada │ m{number}" for number in (1, 0, 28, 29, 26, 27)]
    code, _, err = await world.run(*SIGN_IN, "--room", ROOM, "--exec", "/more", stdin="Correct-Horse-9\n")
    assert code == 1
    assert "There is no more" in err


async def test_what_retention_took_is_said(world: World) -> None:
    world.peer.append(ROOM, "old")
    world.peer.append(ROOM, "new")
    page = {"messages": world.peer.messages.rows(ROOM)[1:], "has_more": False, "first_seq": 2}
    world.rest.routes[f"GET {ROOM_PATH}/history"] = (200, ok(page))
    out = await world.commands("/me")
    assert "what came before #2 is gone" in out


async def test_files_are_sent_and_saved_under_free_names(world: World, tmp_path: Path) -> None:
    song = tmp_path / "démo one.flac"
    song.write_bytes(b"la" * 1000)
    attachment = {"id": "f", "name": song.name, "mime_type": "audio/flac", "size_bytes": 2000}

    def keep(body: Form, query: dict[str, str]) -> tuple[int, Any]:
        assert (body.name, body.data) == (song.name, song.read_bytes())
        return 201, ok(attachment)

    world.rest.routes |= {
        f"POST {ROOM_PATH}/attachments": keep,
        f"GET {ROOM_PATH}/attachments/f": (200, File(song.name, song.read_bytes())),
    }
    world.peer.files["f"] = attachment
    out = await world.commands(f'/attach "{song}" our demo', f"/attach '{song}'")
    assert [event["content"] for event in world.peer.logs[ROOM]] == ["our demo", song.name]
    assert "📎 démo one.flac (2 kB)  /save 2" in out
    folder = tmp_path / "saved"
    folder.mkdir()
    out = await world.commands(f"/save 1 {folder}", f"/save 1 {folder}")
    assert f"saved {folder / 'démo one (2).flac'} (2 kB)" in out
    assert sorted(file.name for file in folder.iterdir()) == ["démo one (2).flac", "démo one.flac"]
    assert {file.read_bytes() for file in folder.iterdir()} == {song.read_bytes()}


async def test_people_are_named_and_moderated(world: World) -> None:
    world.peer.members.append({"user": BOB, "role": "member", "presence": "busy", "last_read_seq": 7})
    ban = {"id": "s", "user": BOB, "by": USER, "action": "ban", "active": True, "created_at": "2026-01-02T03:04:05Z"}
    sanctions = f"{ROOM_PATH}/sanctions"
    world.rest.routes |= {
        f"POST {sanctions}": lambda body, _: (201, ok({"id": "s", "seq": 1, **body})),
        f"GET {sanctions}": (200, ok({"sanctions": [ban], "total": 1})),
        f"DELETE {sanctions}/{BOB['id']}/mute": DONE,
        f"DELETE {sanctions}/{BOB['id']}/ban": DONE,
        f"PUT {ROOM_PATH}/members/{BOB['id']}": DONE,
        f"POST users/{BOB['id']}/block": (200, ok({})),
        f"DELETE users/{BOB['id']}/block": (200, ok({})),
        "GET users/me/blocks": (200, ok({"blocks": [{"user": BOB}], "total": 1})),
    }
    out = await world.commands(
        *("/members", "/who", "/warn bob no links", "/mute @Bob 10m calm down", "/unmute bob", "/kick bob"),
        *("/ban bob spam", "/unban bob", "/sanctions", "/role bob moderator"),
        *("/block bob", "/blocks", "/unblock bob", "/status busy", "/status"),
    )
    assert f"● bob  member  busy  read to #7  {BOB['id']}" in out
    assert "here: ada, bob" in out
    assert asked(world, f"POST {sanctions}") == [
        {"user_id": BOB["id"], "action": "warn", "reason": "no links"},
        {"user_id": BOB["id"], "action": "mute", "duration_s": 600, "reason": "calm down"},
        {"user_id": BOB["id"], "action": "kick"},
        {"user_id": BOB["id"], "action": "ban", "reason": "spam"},
    ]
    assert asked(world, f"PUT {ROOM_PATH}/members/{BOB['id']}") == [{"role": "moderator"}]
    assert "until lifted" in out
    assert "bob cannot write to you any more" in out
    assert "you are busy to others" in out
    assert [one["status"] for one in world.peer.commands if one["type"] == "set_presence"] == ["busy"]


async def test_notifications_are_shown_marked_and_chosen(world: World) -> None:
    told = {"id": "n", "kind": "mention", "data": {"room_id": ROOM, "sender": BOB}}
    world.rest.routes |= {
        "GET notifications": lambda _, query: (
            200,
            ok({"notifications": [told] if query.get("unread") == "true" else [], "unread_count": 3}),
        ),
        "POST notifications/read": (200, ok({"marked": 3, "unread_count": 0})),
        "GET notifications/preferences": (200, ok({"like": False})),
        "PUT notifications/preferences": lambda body, _: (200, ok(body)),
    }
    out = await world.commands(
        "/notifications", "/notifications all", "/notifications off like", "/notifications off", "/notifications read"
    )
    assert f"! bob mentioned you  /open {ROOM}" in out
    assert "and 2 more" in out
    assert asked(world, "PUT notifications/preferences") == [{"like": False}]
    assert "off like" in out
    assert "3 marked as read" in out


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("/edit", "Usage: /edit"),
        ("/edit #9 x", "There is no message #9 here."),
        ("/edit x", "None of your messages was shown"),
        ("/delete", "Usage: /delete N"),
        ("/react", "Usage: /react [N] EMOJI"),
        ("/react 👍", "No message was shown yet"),
        ("/reply 1", "Usage: /reply N TEXT"),
        ("/attach /nowhere/at/all", "cannot be read: No such file or directory"),
        ("/save", "Usage: /save N"),
        ("/mute bob", "Nobody here is called bob"),
        ("/role ada queen", "A role is moderator or member."),
        ("/status asleep", "A status is one of online, away, busy, invisible."),
        ("/keep for ever", "Usage: /keep DAYS"),
        ("/notifications loud", "Usage: /notifications"),
        ("/help dance", "There is no help on dance"),
    ],
)
async def test_what_is_wrong_is_said_in_a_sentence(world: World, command: str, told: str) -> None:
    code, _, err = await world.run(*SIGN_IN, "--room", ROOM, "--exec", command, stdin="Correct-Horse-9\n")
    assert code == 1
    assert told in err
    assert "Traceback" not in err


async def test_help_teaches(world: World) -> None:
    out = await world.commands("/help", "/help messages", "/help mute")
    for word in ("/reply 7 at eight!", "/mute PERSON [TIME] [REASON]", "until lifted", "@name mentions"):
        assert word in out
