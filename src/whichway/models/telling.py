"""A text while it is being written: the pieces that no further token changes are said at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

UNFINISHED = "\ufffd"  # bytes that are no whole character yet


class Telling:
    """Says what tokens spell, word by word: a word is said when the next one begins, and never what may yet end the text.

    `decode` turns tokens into text, `ends` are the strings before which a text is cut.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], ends: Sequence[str], say: Callable[[str], None]) -> None:
        self.decode, self.ends, self.say = decode, tuple(one for one in ends if one), say
        self.said = ""

    def hear(self, tokens: Sequence[int]) -> None:
        """Take all tokens that are written so far, and say what is new and settled."""
        self._go_on(settled(self.decode(tokens), self.ends))

    def end(self, text: str) -> None:
        """Say what is left of the whole text."""
        self._go_on(text)

    def _go_on(self, text: str) -> None:
        if len(text) > len(self.said) and text.startswith(self.said):
            self.say(text[len(self.said) :])
            self.said = text


def settled(text: str, ends: Sequence[str]) -> str:
    """Return the beginning of a text that stays, whatever is written behind it."""
    for end in ends:
        whole = text.find(end)
        begun = next((n for n in range(min(len(end) - 1, len(text)), 0, -1) if text.endswith(end[:n])), 0)
        text = text[:whole] if whole >= 0 else text[: len(text) - begun]
    text = text.split(UNFINISHED)[0]
    last = max((at for at, letter in enumerate(text) if letter.isspace()), default=0)
    return text[:last]
