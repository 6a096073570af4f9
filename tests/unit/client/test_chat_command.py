"""`veza chat` as its users run it, against the test peers."""

import asyncio
import json
import stat

from chat_peer import USER
from chat_world import ROOM, SIGN_IN, World
from terminal import Terminal


async def test_a_pipe_is_sent_line_by_line_and_seen_coming_back(world: World) -> None:
    world.peer.append(ROOM, "earlier")
    code, out, err = await world.run(
        *SIGN_IN, "--room", "band", "--plain", stdin="Correct-Horse-9\nhi\n/quit is text here\n"
    )
    assert (code, err) == (0, "")
    assert [event["content"] for event in world.peer.logs[ROOM]] == ["earlier", "hi", "/quit is text here"]
    shown = [line.partition("│ ")[2] for line in out.splitlines() if "│" in line]
    assert shown == ["earlier", "hi", "/quit is text here"]


async def test_commands_run_in_order(world: World) -> None:
    code, out, err = await world.run(
        *SIGN_IN,
        *("--exec", "/rooms", "--exec", "/open 1", "--exec", "//slash", "--exec", "/members", "--exec", "/me"),
        stdin="Correct-Horse-9\n",
    )
    assert (code, err) == (0, "")
    assert "2 unread" in out
    assert "owner  online" in out
    assert USER["id"] in out
    assert world.peer.logs[ROOM][0]["content"] == "/slash"


async def test_a_refusal_is_one_sentence_without_escapes(world: World) -> None:
    code, out, err = await world.run(*SIGN_IN, "--exec", "/create X", stdin="Correct-Horse-9\n")
    assert (code, out) == (1, "")
    assert err == "veza: No more rooms.␛[2J\n"
    code, out, err = await world.run(*SIGN_IN, "--exec", "/dance", stdin="Correct-Horse-9\n")
    assert code == 1
    assert "/help" in err


async def test_escape_sequences_of_others_do_nothing(world: World) -> None:
    world.peer.append(ROOM, "\x1b]0;owned\x07\x9b2J\nadmin │ fake\u202e")
    _, out, _ = await world.run(*SIGN_IN, "--exec", f"/open {ROOM}", stdin="Correct-Horse-9\n")
    assert not set(out) & {"\x1b", "\x07", "\x9b", "\u202e"}
    assert "␛]0;owned␇" in out
    assert "\nadmin" not in out


async def test_a_remembered_sign_in_is_private_and_keeps_the_newest_token(world: World) -> None:
    code, _, err = await world.run(*SIGN_IN, "--remember", "--exec", "/me", stdin="Correct-Horse-9\n")
    assert (code, err) == (0, "")
    file = world.home / "veza" / "chat.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    world.rest.expire()
    for _ in range(2):
        code, out, err = await world.run("--exec", "/me")
        assert (code, err) == (0, "")
        assert "ada@example.com" in out
    kept = json.loads(file.read_bytes())[world.rest.url]
    assert kept["tokens"]["refresh_token"] == f"refresh-{world.rest.generation}" == "refresh-2"


async def test_without_remember_nothing_is_kept(world: World) -> None:
    await world.run(*SIGN_IN, "--exec", "/me", stdin="Correct-Horse-9\n")
    assert not (world.home / "veza" / "chat.json").exists()


async def test_follow_prints_until_the_session_is_ended(world: World) -> None:
    process = await world.start(*SIGN_IN, "--room", ROOM, "--plain", "--follow")
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"Correct-Horse-9\n")
    async with asyncio.timeout(30):
        await world.peer.until(lambda: bool(world.peer.subscribed[ROOM]))
        await world.peer.say(ROOM, "one")
        while b"one" not in await process.stdout.readline():
            pass
        world.peer.cut()
        await world.peer.say(ROOM, "two")
        while b"two" not in await process.stdout.readline():
            pass
        await world.peer.until(lambda: bool(world.peer.sockets))
        await world.peer.close_all(4003, "The session was revoked.")
        _, err = await process.communicate()
    assert process.returncode == 1
    assert err.decode() == "veza: The session was revoked.\n"


async def test_without_a_terminal_or_a_server_it_says_so(world: World) -> None:
    code, _, err = await world.run()
    assert code == 2
    assert "--plain" in err
    code, _, err = await world.run("--exec", "/me", "--email", "ada@example.com")
    assert (code, err) == (1, "veza: There is no terminal to ask for the password; give --password-stdin.\n")
    code, _, err = await world.run("--url", "http://127.0.0.1:9", *SIGN_IN, "--exec", "/me", stdin="x\n")
    assert code == 1
    assert err.startswith("veza: http://127.0.0.1:9 does not answer")
    assert "Traceback" not in err


async def test_the_screen_takes_lines_shows_state_and_survives_a_cut(world: World) -> None:
    await world.run(*SIGN_IN, "--remember", "--exec", "/me", stdin="Correct-Horse-9\n")
    terminal = await Terminal.start(world)
    try:
        await terminal.until("/open N opens one")
        terminal.type("/open 1\r")
        await terminal.until("1 here")
        terminal.type("hi there\r")
        await world.peer.until(lambda: bool(world.peer.logs[ROOM]))
        await terminal.until("│ hi there")
        assert any(command["type"] == "typing" for command in world.peer.commands)
        await world.peer.say(ROOM, "\x1b]0;owned\x07")
        await terminal.until("␛]0;owned␇")
        assert "\x1b]" not in terminal.raw
        await world.peer.tell_all({"type": "reconnect", "after_ms": 1000})
        await world.peer.close_all(1001)
        await terminal.until("reconnecting")
        await world.peer.until(lambda: world.peer.connections == 3)
        await terminal.until("connected")
        terminal.type("/quit\r")
        async with asyncio.timeout(20):
            assert await terminal.process.wait() == 0
    finally:
        terminal.close()
