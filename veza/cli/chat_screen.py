"""The interactive terminal: a prompt that stays below while messages scroll above it."""

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol, Self

from prompt_toolkit import PromptSession, print_formatted_text
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.patch_stdout import patch_stdout

from veza.cli.chat_session import ChatSession
from veza.cli.chat_text import Line
from veza.client import ClientError

# The server forgets "is typing" after 5 s.
_TYPING_EVERY_S = 3.0


class Talk(Protocol):
    """What is shown, and takes the lines."""

    def status(self) -> str: ...

    async def handle(self, line: str) -> bool:
        """False when it was the last."""
        ...


class Screen:
    """Output above the prompt, the state of the talk below it. `names` are the commands that Tab completes."""

    def __init__(self, names: Sequence[str]) -> None:
        self._prompt: PromptSession[str] = PromptSession(
            completer=WordCompleter([*names], sentence=True), reserve_space_for_menu=4
        )

    def show(self, line: Line) -> None:
        print_formatted_text(FormattedText(line))

    def redraw(self) -> None:
        self._prompt.app.invalidate()

    async def converse(self, talk: Talk, wrote: Callable[[str], None] | None = None) -> None:
        """Read lines until /quit or Ctrl-D. `wrote` is told what stands in the prompt at each change."""
        if wrote is not None:
            self._prompt.default_buffer.on_text_changed += lambda buffer: wrote(buffer.text)
        with patch_stdout(raw=True):
            try:
                while await talk.handle(await self._line(talk)):
                    pass
            except EOFError:
                return

    async def _line(self, talk: Talk) -> str:
        try:
            # Once a second, because "is typing" fades by itself, and the time of a live stream goes on.
            return await self._prompt.prompt_async("> ", bottom_toolbar=talk.status, refresh_interval=1.0)
        except KeyboardInterrupt:
            return ""


class TypingNotice:
    """Tells the room, not more often than needed and never in the way of the keys. Use as an async context manager."""

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

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
