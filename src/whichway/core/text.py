"""The shape of an answer that is running text: its limits, its house rules, and how 'I do not know' is said."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from whichway.core.rules import Rules

UNKNOWN = "I do not know."


@dataclass(frozen=True)
class Text:
    """Running text. A value is a `str`; the empty one means that there is no answer, written as `unknown`.

    `stop` are strings at which an answer ends; `most_tokens` bounds what a model may write (0: from the examples).
    `rules` are what the house demands; prompts state them, and the metric rule_compliance checks them.
    """

    rules: Rules = field(default_factory=Rules)
    stop: tuple[str, ...] = ()
    most_tokens: int = 0
    unknown: str = UNKNOWN
    shape: str = "text"

    def ask(self) -> str:
        said = "Answer with the text alone, without introduction or comment."
        rules = self.rules.describe()
        return f"{said}\n{rules}" if rules else said

    def write(self, value: Any) -> str:
        return str(value) if value else self.unknown

    def read(self, text: str) -> Any | None:
        """Return the text up to the first stop; None where nothing is said."""
        said = text.strip()
        for stop in self.stop:
            said = said.split(stop, 1)[0].strip()
        if not said:
            return None
        return "" if _bare(said) == _bare(self.unknown) else said


def _bare(text: str) -> str:
    return " ".join(text.casefold().strip(" .!\"'").split())
