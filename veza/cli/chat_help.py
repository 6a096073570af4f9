"""The commands of a terminal chat, as they are taught."""

from typing import NamedTuple

from veza.cli.chat_text import BOLD, DIM, Line, note


class Command(NamedTuple):
    """`usage` begins with the command's name; `more` is what an example shows."""

    usage: str
    meaning: str
    more: str = ""

    @property
    def name(self) -> str:
        return self.usage.split(" ")[0]


_NUMBER = "N is the number that stands before a message; without one the newest is meant."
_PERSON = "PERSON is a name of somebody in the room, or a user id."
_TIME = "TIME is like 30s, 10m, 2h, 7d; without one it holds until lifted."

TOPICS: dict[str, tuple[str, tuple[Command, ...]]] = {
    "rooms": (
        "Open one by its number in the last list, its name or its id.",
        (
            Command("/rooms", "your rooms, numbered"),
            Command("/public [TEXT]", "public rooms to join, numbered"),
            Command("/open ROOM", "switch to a room", "/open 2, /open Band"),
            Command("/join ROOM", "become a member of a public room and open it", "/join 1"),
            Command("/create NAME", "make a group"),
            Command("/create-public NAME", "make a room that everybody may find and join"),
            Command("/dm PERSON", "talk to one person"),
            Command("/leave", "leave the open room for good"),
            Command("/rename NAME", "call the open room something else"),
            Command("/keep DAYS", "remove what is older; 0 keeps everything", "/keep 30"),
        ),
    ),
    "messages": (
        _NUMBER,
        (
            Command("/reply N TEXT", "answer a message: it starts or continues its thread", "/reply 7 at eight!"),
            Command("/thread N", "the answers to a message", "/thread 7"),
            Command("/edit [#N] TEXT", "rewrite your newest message, or number N, for 15 minutes", "/edit #7 at nine"),
            Command("/delete N", "delete a message: its place stays, its words go", "/delete 7"),
            Command("/react [N] EMOJI", "give an emoji", "/react 7 🎸, /react :wave:"),
            Command("/unreact [N] EMOJI", "take it back"),
            Command("/pin [N]", "pin a message, for owners and moderators"),
            Command("/unpin [N]", "unpin it"),
            Command("/pins", "what is pinned here"),
            Command(
                "/search WORDS", "messages with all these words; the last may be only begun", "/search setlist frid"
            ),
            Command("/history [COUNT]", "the last messages (20)", "/history 50"),
            Command("/more", "the next page of a search, a thread or the history"),
            Command("//text", "send text that begins with a slash", "//join is a command"),
        ),
    ),
    "files": (
        "A file is sent as a message; who is in the room may save it.",
        (
            Command("/attach FILE [TEXT]", "send a file", '/attach ~/demo.flac our demo, /attach "two words.pdf"'),
            Command("/save N [FOLDER]", "save the files of message N, here or in a folder", "/save 7 ~/Downloads"),
        ),
    ),
    "people": (
        _PERSON,
        (
            Command("/members", "everybody in the room: role, presence, how far they have read"),
            Command("/who", "who is here, and who is typing"),
            Command("/invite USER_ID", "add somebody to the open room; /me shows them their id"),
            Command("/status [STATUS]", "be online, away, busy or invisible", "/status busy"),
            Command("/block PERSON", "no direct messages with them any more"),
            Command("/unblock PERSON", "take that back"),
            Command("/blocks", "whom you have blocked"),
            Command("/me", "who you are, and your id for invitations"),
        ),
    ),
    "moderation": (
        f"For owners and moderators. {_PERSON} {_TIME}",
        (
            Command("/warn PERSON [REASON]", "tell somebody; the third warning mutes", "/warn bob no links please"),
            Command("/mute PERSON [TIME] [REASON]", "they may read and not write", "/mute bob 10m calm down"),
            Command("/unmute PERSON", "they may write again"),
            Command("/kick PERSON [REASON]", "put them out; they may come back"),
            Command("/ban PERSON [TIME] [REASON]", "put them out and keep them out", "/ban bob 7d spam"),
            Command("/unban PERSON", "let them in again"),
            Command("/sanctions", "what was imposed here"),
            Command("/role PERSON ROLE", "make somebody a moderator, or a member again", "/role bob moderator"),
        ),
    ),
    "notifications": (
        "What happened to you while you were elsewhere: mentions, likes, orders, ….",
        (
            Command("/notifications", "the unread ones; `all` shows all", "/notifications all"),
            Command("/notifications read", "mark all as read"),
            Command("/notifications on|off KIND", "choose what you are told", "/notifications off like"),
        ),
    ),
    "else": (
        "",
        (
            Command("/help [TOPIC or COMMAND]", "this; with a topic or a command, more", "/help messages, /help mute"),
            Command("/quit", "goodbye; Ctrl-D does the same"),
        ),
    ),
}

NAMES = sorted({command.name for _, commands in TOPICS.values() for command in commands} - {"//text"})


def overview() -> list[Line]:
    """Every command in one line."""
    lines: list[Line] = [
        [("", "  A line is a message. @name mentions somebody. Commands begin with a slash:")],
    ]
    for topic, (_, commands) in TOPICS.items():
        names = " ".join(dict.fromkeys(command.name for command in commands))
        lines.append([(BOLD, f"  {topic:14}"), ("", names)])
    lines.append(note("/help messages explains a topic, /help react a command; Tab completes"))
    return lines


def explain(wanted: str) -> list[Line]:
    """One topic or one command; nothing when there is neither."""
    wanted = wanted.lower().strip()
    if wanted in TOPICS:
        hint, commands = TOPICS[wanted]
        return [*([note(hint)] if hint else []), *(_taught(command) for command in commands)]
    name = f"/{wanted.lstrip('/')}"
    for hint, commands in TOPICS.values():
        found = [_taught(command) for command in commands if command.name == name]
        if found:
            return [*found, *([note(hint)] if hint else [])]
    return []


def _taught(command: Command) -> Line:
    line: Line = [(BOLD, f"  {command.usage:29}"), ("", command.meaning)]
    if command.more:
        line.append((DIM, f"   {command.more}"))
    return line
