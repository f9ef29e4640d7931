"""Every prompt that a run has scored: listed, shown, compared and exported, as `whichway prompts` does."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from whichway.errors import UsageError
from whichway.study.ledger import read_prompts

FORMATS = ("text", "openai")


def list_prompts(folder: Path) -> list[dict[str, Any]]:
    """Return all prompts of a run, in the order in which they were scored; raises UsageError where there is none."""
    found = read_prompts(folder)
    if not found:
        raise UsageError(f"{folder} holds no prompt.", "Run a study with a prompted strategy: whichway run task.yaml")
    return found


def find_prompt(prompts: Sequence[Mapping[str, Any]], id_: str) -> Mapping[str, Any]:
    """Return the prompt whose id begins with `id_`; raises UsageError when none or several do."""
    found = {one["id"]: one for one in prompts if one["id"].startswith(id_)} if id_ else {}
    if len(found) != 1:
        known = ", ".join(dict.fromkeys(one["id"] for one in prompts)) if not found else ", ".join(found)
        what = "no prompt" if not found else f"{len(found)} prompts"
        raise UsageError(f"There are {what} whose id begins with {id_!r}.", f"Known: {known}.")
    return next(iter(found.values()))


def export_prompt(prompt: Mapping[str, Any], format: str) -> str:
    """Return a prompt as plain text, or as the `messages` of an OpenAI chat request, `{field}` standing for a row."""
    if format not in FORMATS:
        raise UsageError(f"There is no format {format!r} for prompts.", f"Known: {', '.join(FORMATS)}.")
    if format == "text":
        return str(prompt["text"])
    messages = [{"role": role, "content": text} for role, text in prompt["messages"]]
    return json.dumps({"messages": messages}, ensure_ascii=False, indent=1)


def compare_prompts(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Return what changed between two prompts, line by line."""
    first, second = (f"{one['id']} ({one['trial']})" for one in (before, after))
    old, new = (one["text"].splitlines() for one in (before, after))
    return "\n".join(difflib.unified_diff(old, new, first, second, lineterm="", n=2)) or "The prompts are the same."
