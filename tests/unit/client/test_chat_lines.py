"""How a terminal chat looks: widths, names, mentions, what became of messages."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veza.cli.chat_files import first_word
from veza.cli.chat_help import NAMES, TOPICS, explain, overview
from veza.cli.chat_lines import Lines, notification_line, sanction_line
from veza.cli.chat_messages import split_number
from veza.cli.chat_session import ChatSession
from veza.cli.chat_text import MENTION, harmless, plain, same_name, seconds, short, size, width
from veza.cli.chat_timeline import Timeline
from veza.client import (
    Account,
    Attachment,
    Client,
    ClientError,
    EventsExpired,
    MemberChange,
    MemberJoined,
    MemberLeft,
    Message,
    MessageDeleted,
    MessageEdited,
    Notification,
    Person,
    Reaction,
    ReactionAdded,
    RoomUpdated,
    Sanction,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ME = Account(id="a", username="ada", email="ada@example.org")
ADA, BOB = Person(id="a", username="ada"), Person(id="b", username="bob")


def message(seq: int, content: str | None, **more: Any) -> Message:
    return Message(
        **{"room_id": "r", "seq": seq, "id": f"m{seq}", "sender": BOB, "content": content, "created_at": NOW} | more
    )


@pytest.fixture
def timeline() -> Timeline:
    return Timeline()


@pytest.fixture
def lines(timeline: Timeline) -> Lines:
    return Lines(ME, timeline.by_id)


def said(line: list[tuple[str, str]]) -> str:
    """Without the clock, which depends on where one is."""
    return plain(line)[6:]


def test_a_message_shows_what_became_of_it(lines: Lines, timeline: Timeline) -> None:
    timeline.note(message(3, "who comes?"))
    shown = lines.message(
        message(
            *(7, "me!"),
            parent_id="m3",
            edited_at=NOW,
            pinned=True,
            reply_count=2,
            reactions=[Reaction(emoji="🎸", count=3, me=True)],
            attachments=[Attachment(id="f", name="de\x1bmo.flac", size_bytes=1_234_567)],
        )
    )
    assert said(shown) == (
        "#7 bob │ ↳ #3 bob “who comes?” me! (edited)  📌  🎸 3  2 in /thread 7\n"
        "             │ 📎 de␛mo.flac (1.23 MB)  /save 7"
    )
    assert said(lines.message(message(8, None))) == "#8 bob │ (deleted)"


def test_a_mention_of_oneself_stands_out_and_no_other(lines: Lines) -> None:
    shown = lines.message(message(1, "hey @Ada, ask @adam or mail x@ada", mentions=["a"]))
    assert [text for style, text in shown if style == MENTION] == ["@Ada"]
    assert said(shown) == "#1 bob │ hey @Ada, ask @adam or mail x@ada"
    not_meant = lines.message(message(1, "hey @ada"))
    assert MENTION not in {style for style, _ in not_meant}


def test_lines_of_a_text_are_indented_by_what_stands_before_them(lines: Lines) -> None:
    wide = message(1, "a\nb", sender=Person(id="k", username="ギター"))
    first, second = plain(lines.message(wide)).split("\n")
    assert width(first[: first.index("│")]) == second.index("│")


def test_changes_are_told_with_what_they_are_about(lines: Lines, timeline: Timeline) -> None:
    base = {"room_id": "r", "created_at": NOW}
    timeline.note(message(3, "helo"))
    edited = MessageEdited(
        **base, seq=4, sender=BOB, message_id="m3", content="hello @ada", edited_at=NOW, mentions=["a"]
    )
    timeline.apply(edited)
    shown = lines.event(edited)
    assert said(shown) == "✎ #3 bob │ hello @ada (edited)"
    assert (MENTION, "@ada") in shown
    added = lines.event(ReactionAdded(**base, seq=5, sender=ADA, message_id="m3", emoji="👍"))
    assert plain(added) == "      · 👍  ada → #3 bob “hello @ada”"
    deleted = MessageDeleted(**base, seq=6, sender=ADA, message_id="m3")
    timeline.apply(deleted)
    assert plain(lines.event(deleted)) == "      · ada deleted #3 bob"
    assert said(lines.message(timeline.numbered(3) or message(0, ""))) == "#3 bob │ (deleted)"
    gone = MessageEdited(**base, seq=7, sender=BOB, message_id="m1", content=None)
    assert "an earlier message, which was deleted since" in plain(lines.event(gone))
    expired = lines.event(EventsExpired(room_id="r", seq=40, from_seq=11))
    assert plain(expired) == "      · 30 events before #41 are gone: this room does not keep them for ever"


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (MemberJoined(room_id="r", seq=1, sender=ADA, user=BOB), "ada added bob"),
        (MemberJoined(room_id="r", seq=1, sender=BOB, user=BOB), "bob joined"),
        (MemberLeft(room_id="r", seq=1, sender=BOB, user=BOB, reason="left"), "bob left"),
        (MemberLeft(room_id="r", seq=1, sender=ADA, user=BOB, reason="kicked"), "bob was kicked by ada"),
        (MemberLeft(room_id="r", seq=1, sender=ADA, user=BOB, reason="banned"), "bob was banned by ada"),
        (RoomUpdated(room_id="r", seq=1, name="Żółć", retention_days=30), "the room is called Żółć, and keeps 30 days"),
        (RoomUpdated(room_id="r", seq=1, name="B"), "the room is called B, and keeps everything"),
        (
            RoomUpdated(room_id="r", seq=1, name="B", member=MemberChange(user=BOB, role="member", muted=True)),
            "bob may not write until lifted",
        ),
        (
            RoomUpdated(room_id="r", seq=1, name="B", member=MemberChange(user=BOB, role="moderator")),
            "bob is a moderator, and may write",
        ),
    ],
)
def test_what_happens_to_people_and_the_room(lines: Lines, event: Any, told: str) -> None:
    assert plain(lines.event(event)) == f"      · {told}"


def test_notifications_and_sanctions_read_well() -> None:
    mention = Notification(id="n", kind="mention", data={"room_id": "r-1", "sender": {"id": "b", "username": "bob"}})
    assert plain(notification_line(mention)) == "      ! bob mentioned you  /open r-1"
    data = {"room_name": "Band\x1b", "action": "warn", "muted": True, "until": None, "reason": "links"}
    assert plain(notification_line(Notification(id="n", kind="moderation", data=data))) == (
        "      ! warn in Band␛, and muted: links"
    )
    for content, shown in (("user", "account"), ("message", "message")):
        warning = Notification(id="n", kind="moderation", data={"action": "warn", "content_type": content})
        assert plain(notification_line(warning)) == f"      ! the administrators warn you about your {shown}"
    news = Notification(id="n", kind="announcement", data={"title": "Tonight", "content": "New\x1b[2J strings"})
    assert plain(notification_line(news)).startswith("      ! Tonight: New")
    assert "\x1b" not in plain(notification_line(news))
    live = Notification(id="n", kind="stream_started", data={"title": "Aria\x1b", "user": {"username": "ada"}})
    assert plain(notification_line(live)) == "      ! ada is live: Aria␛"
    assert "order paid" in plain(notification_line(Notification(id="n", kind="order_paid", data="odd")))
    ban = Sanction(id="s", user=BOB, by=ADA, action="ban", reason="spam", created_at=NOW, active=True)
    assert plain(sanction_line(ban)).startswith("    ban  bob  by ada, ")
    assert plain(sanction_line(ban)).endswith(", until lifted  “spam”")


def test_the_timeline_forgets_the_oldest_and_knows_the_newest(timeline: Timeline) -> None:
    for seq in range(1, 1502):
        timeline.note(message(seq, f"m{seq}", sender=ADA if seq % 2 else BOB))
    assert timeline.numbered(501) is None
    assert timeline.numbered(502) is not None
    newest, of_bob = timeline.newest(), timeline.newest("b")
    assert newest is not None
    assert of_bob is not None
    assert (newest.seq, of_bob.seq) == (1501, 1500)
    timeline.apply(MessageDeleted(room_id="r", seq=1502, message_id="m1501"))
    assert (timeline.newest() or newest).seq == 1500
    timeline.clear()
    assert timeline.newest() is None


@pytest.mark.parametrize(
    ("text", "columns"),
    [("abc", 3), ("ギター", 6), ("é", 1), ("👍", 2), ("👩‍🎤", 2), ("", 0)],
)
def test_a_text_is_as_wide_as_it_looks(text: str, columns: int) -> None:
    assert width(text) == columns


@given(st.text(max_size=60), st.integers(2, 40))
def test_a_shortened_text_fits_and_is_a_beginning(text: str, columns: int) -> None:
    cut = short(text, columns)
    assert width(cut) <= columns
    assert cut == text or text.startswith(cut.removesuffix("…"))


def test_a_cut_is_never_inside_a_letter() -> None:
    assert short("ab👩‍🎤cd", 4) == "ab…"
    assert short("abe\u0301d", 3) == "ab…"


def test_names_are_equal_however_they_are_written() -> None:
    assert same_name("ZESPÓŁ", "zespo\u0301ł")
    assert not same_name("zespol", "zespół")


@pytest.mark.parametrize(
    ("count", "told"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (25_000_000, "25 MB"), (5 * 10**12, "5e+03 GB")]
)
def test_sizes(count: int, told: str) -> None:
    assert size(count) == told


def test_what_is_typed_is_taken_apart() -> None:
    assert [split_number(text) for text in ("7 hi", "#7 hi", "7", "7th", "hi 7", "")] == [
        *((7, "hi"), (7, "hi"), (7, "")),
        *((None, "7th"), (None, "hi 7"), (None, "")),
    ]
    assert [seconds(text) for text in ("30s", "10m", "2H", "7d", "1w", "m", "10", "10y")] == [
        *(30, 600, 7200, 604_800, 604_800),
        *(None, None, None),
    ]
    assert first_word('"two words.pdf" our plan') == ("two words.pdf", "our plan")
    assert first_word("one.pdf our plan") == ("one.pdf", "our plan")
    with pytest.raises(ClientError, match="quote"):
        first_word('"never ends')


def test_every_command_is_taught_and_every_taught_command_exists() -> None:
    session = ChatSession(Client("http://localhost"), None, ME, lambda _: None, lambda: None)  # type: ignore[arg-type]
    assert session.commands == NAMES
    text = "\n".join(plain(line) for line in overview())
    assert all(name in text for name in NAMES)
    for topic in TOPICS:
        assert explain(topic)
    for name in NAMES:
        assert explain(name)
        assert explain(name.removeprefix("/"))
    assert explain("dance") == []


@given(st.text())
def test_foreign_text_never_moves_the_cursor(text: str) -> None:
    assert not any(ord(char) < 32 or 0x7F <= ord(char) < 0xA0 for char in harmless(text))
