"""A data file to a task file: what was guessed, why, and a commented file to edit."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from whichway.errors import UsageError, WhichwayError
from whichway.intake.finding import Finding
from whichway.intake.load import LoadedTask, load_task
from whichway.intake.propose import Proposal, propose
from whichway.intake.tables import Table, read_table


@dataclass(frozen=True)
class InitReport:
    """Where the task file is, what it says, `summary` to print, and what was noticed about the data."""

    path: Path
    task_file: str
    summary: str
    findings: tuple[Finding, ...]


def init(
    file: Path,
    inputs: Sequence[str] = (),
    target: str | None = None,
    test: Path | None = None,
    out: Path | None = None,
    overwrite: bool = False,
    documents: Path | None = None,
) -> InitReport:
    """Write a task file for a file of rows (`out` is ./task.yaml by default) and read it back.

    `documents` is a folder or a documents.jsonl in which answers are to be looked up; one that lies beside the rows under
    that name is found.

    Raises UsageError when the file exists or a column does not, DataError when the data cannot be used; nothing is
    written then.
    """
    out = Path("task.yaml") if out is None else Path(out)
    if out.exists() and not overwrite:
        raise UsageError(f"{out} exists already.", "Give another name with --out, or remove it first.")
    if out.suffix.lower() not in (".yaml", ".yml"):
        raise UsageError(f"{out} is no name for a task file.", "Use a name that ends in .yaml.")
    table = read_table(Path(file))
    proposal = propose(table, inputs, target)
    beside = Path(file).parent / "documents.jsonl"
    found = documents if documents is not None else beside if beside.is_file() and Path(file) != beside else None
    text = _task_file(table, proposal, test, out, found)
    loaded = _write_and_read(out, text)
    return InitReport(out, text, _summary(table, proposal, loaded), loaded.findings)


def _write_and_read(out: Path, text: str) -> LoadedTask:
    """Put the file in its place only after it was read without an error."""
    trial = out.with_name(f".{out.name}.new.yaml")
    try:
        trial.write_text(text, encoding="utf-8")
        loaded = load_task(trial)
        os.replace(trial, out)
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}.", "Choose another place with --out.") from None
    except WhichwayError as error:
        error.problem = error.problem.replace(str(trial), str(out))
        raise
    finally:
        trial.unlink(missing_ok=True)
    return loaded


def _summary(table: Table, proposal: Proposal, loaded: LoadedTask) -> str:
    counts = sorted(proposal.labels.items(), key=lambda pair: (-pair[1], pair[0]))
    shown = ", ".join(f"{label} {count}" for label, count in counts[:8]) + (", ..." if len(counts) > 8 else "")
    lines = [
        f"{table.path}: {len(table.rows)} rows, read as {table.format} ({table.encoding})",
        *(f"  {reason}" for reason in proposal.why),
        *([f"  labels: {shown}"] if counts else []),
        f"  usable: {len(loaded.examples)} rows" + (f", test {len(loaded.test)} rows" if loaded.test else ""),
        *([f"  documents: {len(loaded.task.documents)}"] if loaded.task.documents else []),
        *(f"  {finding.severity} {finding.code}: {finding.message}" for finding in loaded.findings),
    ]
    return "\n".join(lines)


def _task_file(table: Table, proposal: Proposal, test: Path | None, out: Path, documents: Path | None) -> str:
    names = " and ".join(one.name for one in proposal.fields[:3])
    what = {"text": f"Answer the {names}.", "fields": f"Extract the fields from the {names}."}
    labels = "labels that fit" if proposal.multi else "label that fits"
    instruction = table.instruction or what.get(proposal.shape, f"Give the {labels} the {names}.")
    metric = ", ".join(f"{key}: {quote(value)}" for key, value in proposal.metric.items())
    lines = [
        "# Made by `whichway init`. Look at what was guessed, then: whichway plan " + out.name,
        f"task: {quote(_name(table.path))}",
        f"instruction: {quote(instruction)}    # what a new colleague would have to be told",
        'context: ""    # background for prompts: who asks, what the labels are for',
        "",
        "data:    # paths are relative to this file",
        f"  train: {quote(_relative(table.path, out))}",
        f"  test: {quote(_relative(Path(test), out)) if test else 'null'}    # your own test rows; else split off",
        f"  format: {table.format}",
        "",
        "inputs:    # text, number or category",
        *(f"  {quote(one.name)}: {one.kind}" for one in proposal.fields),
        f"target: {quote(proposal.target)}",
        f"id: {quote(proposal.id) if proposal.id else 'null'}",
        f"group: {quote(proposal.group) if proposal.group else 'null'}    # rows of a group are never split apart",
        "",
        *([f"documents: {quote(_relative(documents, out))}    # where answers are looked up", ""] if documents else []),
        *_output_lines(proposal),
        "",
        f"metric: {{{metric}}}    # {proposal.why[-1].split(': ', 1)[1]}",
        *_SETTINGS,
    ]
    return "\n".join(lines) + "\n"


def _output_lines(proposal: Proposal) -> list[str]:
    """Write the output section of the proposal's shape."""
    if proposal.shape == "text":
        return [
            "output:",
            "  shape: text",
            "  # rules: {max_words: 60, must_not_say: [guarantee]}    # what the house demands",
        ]
    if proposal.shape == "fields":
        schema = yaml.safe_dump(
            {"schema": proposal.schema}, sort_keys=False, allow_unicode=True, width=110
        ).splitlines()
        return ["output:", "  shape: fields", *(f"  {line}" for line in schema)]
    multi = "true    # a row may have several labels" if proposal.multi else "false"
    return [
        "output:",
        "  shape: labels",
        f"  multi: {multi}",
        *([f"  separator: {quote(proposal.separator)}"] if proposal.multi else []),
        "  labels:    # a sentence for each label helps every strategy that writes prompts",
        *(f'    {quote(label)}: ""    # {count} rows' for label, count in proposal.labels.items()),
    ]


_SETTINGS = (
    "",
    "objective:",
    "  smallest_difference: 0.02    # a smaller gap in score counts as a tie",
    "  requests_per_month: 10000",
    "  horizon_months: 12",
    "  # label_usd: 0.1    # what one label costs; labels_owned: 0 if those of the data still had to be bought",
    "  # hourly_usd: 80    # of somebody's work; hours: {prompt: 4, finetune: 16} to build, by way or family",
    "  # refresh_months: 6    # how often it is built again; refresh_labels: 50, refresh_hours: {prompt: 1} each time",
    "  # hosting_usd_per_month: 70    # a machine that stays up for ways that run on your own; else paid for by use",
    "",
    "# constraints:    # remove the sign in front of what matters",
    "#   min_score: 0.9",
    "#   max_cost_per_1000_usd: 1.0",
    "#   max_upfront_usd: 500    # labels, people and machine until it can be used",
    "#   max_p95_ms: 500",
    "#   deadline_days: 5    # to build it; people work eight hours a day",
    "#   privacy: local",
    "",
    "budget: {minutes: 30, usd: 0}",
    "seed: 0",
)


def _name(path: Path) -> str:
    """Name the task after its file, or after its folder where the file is called like any other."""
    is_common = path.stem.lower().split("_")[0] in ("train", "data", "rows", "dataset", "examples")
    return (path.absolute().parent.name if is_common else path.stem) or "task"


def _relative(path: Path, out: Path) -> str:
    return Path(os.path.relpath(path.absolute(), out.absolute().parent)).as_posix()


def quote(text: str) -> str:
    """Return a double-quoted YAML scalar that reads back as exactly this text."""
    marks = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    made = []
    for char in text:
        if char in marks:
            made.append(marks[char])
        elif char.isprintable():
            made.append(char)
        else:
            made.append(f"\\U{ord(char):08x}")
    return '"' + "".join(made) + '"'
