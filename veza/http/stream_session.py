"""What one socket may do with live streams: watch them, talk in them, react to them."""

from typing import TYPE_CHECKING

from veza.errors import RateLimited, VezaError
from veza.ids import new_id
from veza.realtime import protocol as p
from veza.realtime import stream_commands as s

if TYPE_CHECKING:
    from veza.http.session import Session

StreamCommand = p.WatchStream | p.UnwatchStream | p.StreamMessage | p.StreamReact

EMPTY = b"{}"
# Of one socket at once: a wall of pictures, and no more.
MOST_STREAMS = 20


def obey(session: "Session", command: StreamCommand) -> None:
    match command:
        case p.WatchStream():
            _watch(session, command)
        case p.UnwatchStream():
            _unwatch(session, command)
        case p.StreamMessage():
            _say(session, command)
        case p.StreamReact():
            session.sockets.spend_reaction(session.user().id)
            session.sockets.streams.react(session.socket, command.stream_id, p.clean_emoji(command.emoji))
            session.reply(command.id, EMPTY)


def _watch(session: "Session", command: p.WatchStream) -> None:
    stream_id = command.stream_id
    user_id = None if session.anonymous is not None else session.user().id
    if len(session.streams) + session.watching >= MOST_STREAMS and stream_id not in session.streams:
        raise RateLimited("This socket watches too many streams.", 10.0)
    session.unanswered += 1
    session.watching += 1

    def done(answer: bytes | VezaError) -> None:
        session.unanswered -= 1
        session.watching -= 1
        if isinstance(answer, VezaError):
            session.refuse(command.id, answer)
        else:
            if stream_id not in session.streams:
                session.streams = (*session.streams, stream_id)
            session.sockets.watches(session)
            session.reply(command.id, answer)
        session.leave_if_answered()

    session.sockets.streams.watch(session.socket, user_id, stream_id, done)


def _unwatch(session: "Session", command: p.UnwatchStream) -> None:
    session.streams = tuple(each for each in session.streams if each != command.stream_id)
    session.sockets.streams.leave(session.socket, command.stream_id)
    session.sockets.watches(session)
    session.reply(command.id, EMPTY)


def _say(session: "Session", command: p.StreamMessage) -> None:
    sender, stream_id, content = session.user(), command.stream_id, p.clean_content(command.content)
    client_msg_id = p.clean_client_msg_id(command.client_msg_id)
    if session.may_write(command, sender.id):
        session.ask(
            session.sockets.streams.links,
            command.id,
            stream_id,
            lambda ref: s.SayInStream(ref, stream_id, new_id(), sender, content, client_msg_id),
        )
