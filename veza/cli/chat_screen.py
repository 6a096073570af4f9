"""The interactive terminal: a prompt that stays below while messages scroll above it."""

import asyncio

from prompt_toolkit import PromptSession, print_formatted_text
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.patch_stdout import patch_stdout

from veza.cli.chat_help import NAMES
from veza.cli.chat_session import ChatSession
from veza.cli.chat_text import Line
from veza.client import ClientError

# The server forgets "is typing" after 5 s.
_TYPING_EVERY_S = 3.0


class Screen:
    """Output above the prompt, the session's state below it."""

    def __init__(self) -> None:
        self._prompt: PromptSession[str] = PromptSession(
            completer=WordCompleter(NAMES, sentence=True), reserve_space_for_menu=4
        )

    def show(self, line: Line) -> None:
        print_formatted_text(FormattedText(line))

    def redraw(self) -> None:
        self._prompt.app.invalidate()

    async def converse(self, session: ChatSession) -> None:
        """Read lines until /quit or Ctrl-D."""
        typing = TypingNotice(session)
        self._prompt.default_buffer.on_text_changed += lambda buffer: typing.wrote(buffer.text)
        with patch_stdout(raw=True):
            try:
                while await session.handle(await self._line(session)):
                    pass
            except EOFError:
                return
            finally:
                await typing.aclose()

    async def _line(self, session: ChatSession) -> str:
        try:
            # Once a second, because "is typing" fades by itself.
            return await self._prompt.prompt_async("> ", bottom_toolbar=session.status, refresh_interval=1.0)
        except KeyboardInterrupt:
            return ""


class TypingNotice:
    """Tells the room, not more often than needed and never in the way of the keys."""

    def __init__(self, session: ChatSession) -> None:
        self._session = session
        self._next = 0.0
        self._task: asyncio.Task[None] | None = None

    def wrote(self, text: str) -> None:
        now = asyncio.get_running_loop().time()
        idle = self._task is None or self._task.done()
        if text and not text.startswith("/") and now >= self._next and idle and self._session.room is not None:
            self._next = now + _TYPING_EVERY_S
            self._task = asyncio.create_task(self._tell(), name="chat-typing")

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _tell(self) -> None:
        room = self._session.room
        if room is not None and self._session.chat.connected:
            try:
                await room.typing(True)
            except ClientError:
                return  # only a courtesy: the message itself will say what is wrong
