"""The files that people fine-tune with: OpenAI chat, ShareGPT, Alpaca, and pairs of a preferred and a rejected answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from whichway.errors import DataError
from whichway.intake.finding import Finding, refuse, show
from whichway.intake.jsonrows import first_object, objects
from whichway.intake.source import Source
from whichway.intake.tables import JSON_SUFFIXES, Rows
from whichway.registry import register

_SPEAKERS = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
}
_PAIRS = (("input", "preferred_output", "non_preferred_output"), ("prompt", "chosen", "rejected"))
_ROLES_FIX = "Use the roles system, user and assistant, each with text."


@register("format", "chat")
@dataclass(frozen=True)
class Chat:
    """OpenAI fine-tuning rows `{"messages": [{"role", "content"}]}`; the last assistant message is the target."""

    suffixes: tuple[str, ...] = JSON_SUFFIXES

    def claim(self, source: Source) -> int:
        """Claim objects with a list of messages."""
        return 2 * isinstance(first_object(source).get("messages"), list)

    def read(self, source: Source) -> Rows:
        """Return columns input, output and, where it differs between rows, system."""
        return _conversations(source, objects(source), "messages", ("role", "content"))


@register("format", "sharegpt")
@dataclass(frozen=True)
class ShareGpt:
    """ShareGPT rows `{"conversations": [{"from", "value"}]}`; the last answer is the target."""

    suffixes: tuple[str, ...] = JSON_SUFFIXES

    def claim(self, source: Source) -> int:
        """Claim objects with a list of conversations."""
        return 2 * isinstance(first_object(source).get("conversations"), list)

    def read(self, source: Source) -> Rows:
        """Return columns input, output and, where it differs between rows, system."""
        return _conversations(source, objects(source), "conversations", ("from", "value"))


@register("format", "alpaca")
@dataclass(frozen=True)
class Alpaca:
    """Alpaca rows `{"instruction", "input", "output"}`; an instruction common to all rows is that of the task."""

    suffixes: tuple[str, ...] = JSON_SUFFIXES

    def claim(self, source: Source) -> int:
        """Claim objects with a textual instruction and an output."""
        row = first_object(source)
        is_alpaca = isinstance(row.get("instruction"), str) and "output" in row
        return 2 * (is_alpaca and not isinstance(row.get("input"), dict))

    def read(self, source: Source) -> Rows:
        """Return the columns as they are; inputs are those of instruction and input that vary."""
        found = objects(source)
        instructions = {str(row.get("instruction") or "") for row in found.rows}
        has_input = any(row.get("input") for row in found.rows)
        if len(instructions) == 1 and has_input:
            rows = [{key: value for key, value in row.items() if key != "instruction"} for row in found.rows]
            only = instructions.pop()
            return Rows(rows, found.lines, found.notes, instruction=only, inputs=("input",), target="output")
        inputs = ("instruction", "input") if has_input else ("instruction",)
        return Rows(found.rows, found.lines, found.notes, inputs=inputs, target="output")


@register("format", "preference")
@dataclass(frozen=True)
class Preference:
    """OpenAI rows `{"input": {"messages"}, "preferred_output", "non_preferred_output"}`, or `{"prompt", "chosen", "rejected"}`.

    In both, a question or an answer is a text or a list of messages. The preferred answer is the target.
    """

    suffixes: tuple[str, ...] = JSON_SUFFIXES

    def claim(self, source: Source) -> int:
        """Claim objects with an answer that is preferred to another one."""
        row = first_object(source)
        return 2 * any(all(key in row for key in keys) for keys in _PAIRS)

    def read(self, source: Source) -> Rows:
        """Return columns input, output, rejected and, where it differs between rows, system."""
        found, rows, worse = objects(source), [], []
        for row, line in zip(found.rows, found.lines, strict=True):
            asked, *answers = next((keys for keys in _PAIRS if keys[1] in row), _PAIRS[0])
            question, better, other = (_messages(source, row.get(key), line, key) for key in (asked, *answers))
            kept = {name: row[name] for name in ("id", "group") if name in row}
            rows.append(kept | {"messages": [*question, *(one | {"role": "assistant"} for one in better)]})
            worse.append("\n".join(_turn(source, one, ("role", "content"), line)[1] for one in other))
        made = _conversations(source, replace(found, rows=rows), "messages", ("role", "content"))
        return replace(made, rows=[row | {"rejected": one} for row, one in zip(made.rows, worse, strict=True)])


def _messages(source: Source, value: Any, line: int, key: str) -> list[dict[str, Any]]:
    """Return a question or an answer as messages; a text is one of the user, or of the assistant."""
    said = value.get("messages") if isinstance(value, dict) else value
    if isinstance(said, str):
        return [{"role": "user" if key in (one[0] for one in _PAIRS) else "assistant", "content": said}]
    if not isinstance(said, list) or not said or not all(isinstance(one, dict) for one in said):
        raise refuse(source.path, f"`{key}` is neither a text nor a list of messages.", _ROLES_FIX, line, key)
    return said


def _conversations(source: Source, found: Rows, key: str, names: tuple[str, str]) -> Rows:
    rows = []
    for row, line in zip(found.rows, found.lines, strict=True):
        turns = row.get(key)
        if not isinstance(turns, list) or not turns:
            raise refuse(source.path, f"`{key}` is not a list of messages.", _ROLES_FIX, line, key)
        said = [_turn(source, turn, names, line) for turn in turns]
        rows.append({name: row[name] for name in ("id", "group") if name in row} | _as_row(source, said, line))
    systems = {row["system"] for row in rows}
    columns = ("input",) if len(systems) == 1 else ("system", "input")
    instruction = (systems.pop() or None) if len(systems) == 1 else None
    if len(columns) == 1:
        for row in rows:
            del row["system"]
    notes = found.notes if instruction or len(columns) == 1 else (*found.notes, _many_systems(source))
    return Rows(rows, found.lines, notes, instruction=instruction, inputs=columns, target="output")


def _turn(source: Source, turn: Any, names: tuple[str, str], line: int) -> tuple[str, str]:
    role, content = names
    if not isinstance(turn, dict) or not isinstance(turn.get(role), str):
        raise refuse(source.path, f"{show(turn, 40)} is no message with `{role}` and `{content}`.", _ROLES_FIX, line)
    if turn[role] not in _SPEAKERS:
        raise refuse(source.path, f"the role {show(turn[role])} is not served.", _ROLES_FIX, line, role)
    said = turn.get(content)
    if isinstance(said, list) and said and all(_is_text_part(part) for part in said):
        said = "\n".join(part["text"] for part in said)
    if not isinstance(said, str):
        what = "a message is no text (a tool call or a picture?)."
        raise refuse(source.path, what, "Only text is served: leave such rows out.", line, content)
    return _SPEAKERS[turn[role]], said


def _is_text_part(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)


def _as_row(source: Source, said: list[tuple[str, str]], line: int) -> dict[str, Any]:
    """The last assistant message is the target, all before it the input; a single question stays as it is."""
    system = "\n".join(text for role, text in said if role == "system")
    turns = [(role, text) for role, text in said if role != "system"]
    target = turns.pop()[1] if turns and turns[-1][0] == "assistant" else None
    if not any(role == "user" for role, _ in turns):
        raise _no_question(source, line)
    only_user = all(role == "user" for role, _ in turns)
    text = "\n".join(text if only_user else f"{role}: {text}" for role, text in turns)
    return {"system": system, "input": text, "output": target}


def _no_question(source: Source, line: int) -> DataError:
    return refuse(source.path, "there is no user message before the answer.", _ROLES_FIX, line)


def _many_systems(source: Source) -> Finding:
    message = f"{source.path.name}: the system message differs between rows, so it is an input and not the instruction."
    return Finding("system-differs", "info", message)
