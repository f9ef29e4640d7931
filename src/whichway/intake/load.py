"""A task file and its data, read, checked and made into the nouns of the core."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from whichway import registry
from whichway.core.task import Constraints, Document, Example, Field, Objective, Task
from whichway.core.text import Text
from whichway.intake import personal
from whichway.intake.checks import check_rows, compare, leak_findings, leaks
from whichway.intake.documents import read_documents
from whichway.intake.finding import Finding, nearest, refuse, show
from whichway.intake.guess import guess_kind
from whichway.intake.metric import make_further, make_metric
from whichway.intake.rows import Columns, content_id, field_value, read_examples
from whichway.intake.shapes import FEWEST_ROWS, Output, make_output, shape_of, with_test_labels
from whichway.intake.tables import Table, read_table
from whichway.intake.taskfile import OTHER_MODELS, TaskFile, read_task_file
from whichway.intake.yamltext import Yaml

ANSWER_COLUMNS = ("references", "gold_doc_ids")  # they tell the answer, or where it is
MODEL_FOLDERS = (*OTHER_MODELS, "openvino")
WEIGHTS_HEAD = 64 * 1024
WEIGHTS_SAMPLES = 64


# What may be priced otherwise in the same study: it moves the verdict and no answer.
PRICED = {
    "objective": (
        "labels_owned",
        "refresh_months",
        "refresh_labels",
        "hourly_usd",
        "hours",
        "refresh_hours",
        "hosting_usd_per_month",
    ),
    "constraints": ("deadline_days",),
}


@dataclass(frozen=True)
class LoadedTask:
    """A task with its rows. `test` are those of the user's own test file; `folder` holds the task file.

    In `settings`, models that are folders have their full paths. `fingerprint` is a SHA-256 over what the task file says,
    the bytes of the data files and the files of such models: it changes with any of them, but not with the instruction and the
    context, which prompts alone depend on.
    """

    task: Task
    examples: tuple[Example, ...]
    test: tuple[Example, ...] | None
    settings: TaskFile
    findings: tuple[Finding, ...]
    folder: Path
    fingerprint: str


def load_task(path: Path) -> LoadedTask:
    """Read a task file and its data.

    Raises TaskFileError for the task file and DataError for the data; both say file, line and column, and what to do.
    Train rows that are in the test file as well are left out with a warning.
    """
    path = Path(path)
    settings, said = read_task_file(path)
    folder = path.parent
    table = _table(said, settings, folder, settings.data.train, "train")
    columns = _columns(said, settings, table)
    examples, findings = read_examples(table, columns)
    test_table = _table(said, settings, folder, settings.data.test, "test") if settings.data.test else None
    test, more = _read_test(test_table, columns)
    output = make_output(settings, said, table, columns, examples, test or ())
    examples = _with_unknown(examples, output)
    documents, unread = _documents(settings, folder)
    test = _with_unknown(test, output) if test is not None else None
    output = with_test_labels(output, test)
    examples, leaked = _without_leaks(table, examples, test)
    test, renamed = _own_ids(examples, test)
    task = _task(said, settings, table, columns, output, documents)
    task, spare = _with_unlabelled(task, settings, folder, (*examples, *(test or ())))
    notes = [
        *spare,
        *table.notes,
        *findings,
        *more,
        *leaked,
        *renamed,
        *unread,
        *_gold_findings(examples, test, documents),
    ]
    notes += [*check_rows(examples, output), *personal.summarise(examples)]
    return LoadedTask(
        task=task,
        examples=examples,
        test=test,
        settings=_with_model_folders(settings, folder),
        findings=tuple(notes + (compare(examples, test, output) if test else [])),
        folder=folder,
        fingerprint=_fingerprint(settings, folder, _files(settings, folder, table, test_table), documents),
    )


def _with_unlabelled(
    task: Task, settings: TaskFile, folder: Path, labelled: Sequence[Example]
) -> tuple[Task, list[Finding]]:
    """Give the task its rows without answers; those that say the same as a labelled row are left out."""
    if settings.data.unlabelled is None:
        return task, []
    rows = load_inputs(folder / settings.data.unlabelled, task)
    known = {_said(row.inputs) for row in labelled}
    kept = {_said(row.inputs): row.inputs for row in rows if _said(row.inputs) not in known}
    dropped = len(rows) - len(kept)
    message = f"{dropped} of {len(rows)} unlabelled rows are labelled, or occur twice: they are left out."
    notes = [Finding("unlabelled-known", "info", message)] if dropped else []
    return replace(task, unlabelled=tuple(kept.values())), notes


def _said(inputs: Mapping[str, Any]) -> str:
    return json.dumps({name: " ".join(str(one).casefold().split()) for name, one in inputs.items()}, sort_keys=True)


def load_inputs(path: Path, task: Task) -> tuple[Example, ...]:
    """Read rows to be answered; an `output` in them is never looked at, and every target is None.

    Raises DataError naming line and field where an input field of the task is missing from a row.
    """
    table = read_table(Path(path))
    examples = []
    seen: dict[str, tuple[Any, int]] = {}
    for row, line in zip(table.rows, table.lines, strict=True):
        row = _as_fields(row, task)
        missing = [one.name for one in task.fields if one.name not in row]
        if missing:
            fix = f"Each row needs: {', '.join(one.name for one in task.fields)}."
            raise refuse(table.path, f"the field {show(missing[0])} is missing.", fix, line, missing[0])
        inputs = {one.name: field_value(table, row, one, line) for one in task.fields}
        id = str(row["id"]) if row.get("id") not in (None, "") else content_id(inputs, None)
        if seen.setdefault(id, (inputs, line))[0] != inputs:
            what = f"the id {show(id)} stands for another row in line {seen[id][1]}."
            raise refuse(table.path, what, "Give each row its own id, or none.", line, "id")
        examples.append(Example(id, inputs))
    return tuple(examples)


def _as_fields(row: dict[str, Any], task: Task) -> dict[str, Any]:
    """Accept `{"id", "input"}` for a task with one field of another name."""
    only = task.fields[0].name if len(task.fields) == 1 else "input"
    if only not in row and "input" in row:
        return {**row, only: row["input"]}
    return row


def _table(said: Yaml, settings: TaskFile, folder: Path, name: str | None, which: str) -> Table:
    if settings.data.format != "auto" and settings.data.format not in registry.names("format"):
        fix = nearest(settings.data.format, ["auto", *registry.names("format")])
        raise said.bad(("data", "format"), f"there is no format {show(settings.data.format)}.", fix)
    # An address must not turn into a path below the folder before it is refused.
    return read_table(Path(name or "") if "://" in (name or "") else folder / (name or ""), settings.data.format)


def _columns(said: Yaml, settings: TaskFile, table: Table) -> Columns:
    known = list(table.columns)
    target = settings.target or table.target
    if target is None:
        fix = f"Add `target:` and one of: {', '.join(known[:20])}."
        raise said.bad((), "the task file names no target, and the data do not say which column it is.", fix)
    id = settings.id or ("id" if "id" in known and "id" not in (settings.inputs or {}) else None)
    names = _input_names(settings, table, [target, id, settings.group])
    group = settings.group or ("group" if table.target and "group" in known and "group" not in names else None)
    _refuse_unknown(said, table, {("target",): target, ("id",): id, ("group",): group})
    _refuse_unknown(said, table, {("inputs", name): name for name in names})
    if target in names:
        raise said.bad(("inputs", target), f"{show(target)} is the target and an input.", "Leave it out of `inputs`.")
    kinds = settings.inputs or {}
    fields = tuple(Field(name, kinds.get(name) or guess_kind([row.get(name) for row in table.rows])) for name in names)
    listed = tuple(settings.output.labels) if settings.output.labels is not None else None
    shape = shape_of(settings, [row.get(target) for row in table.rows])
    return Columns(fields, target, id, group, settings.output.multi, settings.output.separator, listed, shape)


def _refuse_unknown(said: Yaml, table: Table, named: Mapping[tuple[str, ...], str | None]) -> None:
    for trail, name in named.items():
        if name is not None and name not in table.columns:
            raise said.bad(trail, f"{table.path.name} has no column {show(name)}.", nearest(name, table.columns))


def _input_names(settings: TaskFile, table: Table, others: list[str | None]) -> list[str]:
    if settings.inputs is not None:
        return list(settings.inputs)
    return list(table.inputs) or [name for name in table.columns if name not in (*others, *ANSWER_COLUMNS)]


def _read_test(table: Table | None, columns: Columns) -> tuple[tuple[Example, ...] | None, list[Finding]]:
    if table is None:
        return None, []
    test, findings = read_examples(table, columns)
    if not test:
        raise refuse(table.path, "no test row can be used.", "Give labelled rows, or leave `test` out.")
    notes = [*table.notes, *findings]
    if len(test) < FEWEST_ROWS:
        message = f"{table.path.name} has {len(test)} rows: it can certify little."
        notes.append(Finding("small-test", "warning", message))
    return test, notes


def _without_leaks(
    table: Table, examples: tuple[Example, ...], test: tuple[Example, ...] | None
) -> tuple[tuple[Example, ...], list[Finding]]:
    if not test:
        return examples, []
    found = leaks(examples, test)
    kept = tuple(one for one in examples if one.id not in found)
    if len(kept) < FEWEST_ROWS or len({str(one.target) for one in kept}) < 2:
        what = f"{len(found)} of {len(examples)} rows are in the test file, too; too little is left to learn from."
        raise refuse(table.path, what, "Give a test file of other rows, or leave `test` out: it is then split off.")
    return kept, leak_findings(found, dropped=True)


def _own_ids(
    examples: Sequence[Example], test: tuple[Example, ...] | None
) -> tuple[tuple[Example, ...] | None, list[Finding]]:
    """Tell test rows from train rows that bear the same ids, as when both files count their rows from 1."""
    shared = {one.id for one in test or ()} & {one.id for one in examples}
    if not shared or test is None:
        return test, []
    message = f"{len(shared)} ids are in both files for different rows; those of test rows now begin with `test:`."
    return tuple(replace(one, id=f"test:{one.id}") for one in test), [Finding("shared-ids", "info", message)]


def _documents(settings: TaskFile, folder: Path) -> tuple[tuple[Document, ...], list[Finding]]:
    return read_documents(folder / settings.documents) if settings.documents is not None else ((), [])


def _with_unknown(examples: tuple[Example, ...], output: Output) -> tuple[Example, ...]:
    """Turn an answer that says 'I do not know' into the empty one, which stands for it."""
    if not isinstance(output, Text):
        return examples
    return tuple(replace(one, target="") if output.read(str(one.target)) == "" else one for one in examples)


def _gold_findings(
    examples: Sequence[Example], test: Sequence[Example] | None, documents: Sequence[Document]
) -> list[Finding]:
    known = {one.id for one in documents}
    rows = [one.id for one in (*examples, *(test or ())) if set(one.gold_documents) - known]
    if not documents or not rows:
        return []
    message = f"{len(rows)} rows name a gold document that is not among the {len(known)} documents."
    return [Finding("gold-document-missing", "warning", message, tuple(rows[:20]))]


def _task(
    said: Yaml,
    settings: TaskFile,
    table: Table,
    columns: Columns,
    output: Output,
    documents: tuple[Document, ...],
) -> Task:
    return Task(
        name=settings.task,
        instruction=settings.instruction or table.instruction or "",
        fields=columns.fields,
        output=output,
        metric=make_metric(settings, said, output, documents),
        documents=documents,
        further=make_further(settings, said, output, documents),
        context=settings.context,
        paraphrases=settings.paraphrases,
        constraints=Constraints(**settings.constraints.model_dump()),
        objective=Objective(**settings.objective.model_dump()),
    )


def _model_folder(name: str, folder: Path) -> Path | None:
    """Return the folder that a model's name means: beside the task file, else as given; None where it is another name."""
    if name in ("", "embedded"):
        return None
    return next((path.resolve() for path in (folder / name, Path(name)) if os.path.isdir(path)), None)


def _with_model_folders(settings: TaskFile, folder: Path) -> TaskFile:
    """Give models that are folders their full paths, so that they load from wherever the command is called."""
    models = settings.models
    found = {name: _model_folder(getattr(models, name) or "", folder) for name in MODEL_FOLDERS}
    paths = {name: str(path) for name, path in found.items() if path is not None}
    return settings.model_copy(update={"models": models.model_copy(update=paths)})


def _files(settings: TaskFile, folder: Path, *tables: Table | None) -> list[Path]:
    """Return the data files that answers depend on."""
    more = [folder / settings.data.unlabelled] if settings.data.unlabelled else []
    return [*(one.path for one in tables if one), *more]


def _fingerprint(settings: TaskFile, folder: Path, files: Sequence[Path], documents: Sequence[Document] = ()) -> str:
    """Hash what answers and their score depend on: not the budget, prices, how an endpoint is reached, or what is told beside.

    Instruction and context are left to the strategies that read them: an edit makes new trials of those alone. Paraphrases
    are read where a prompt's steadiness is measured.
    """
    said = settings.model_dump(
        mode="json", exclude={"budget", "strategies", "further", "judge", "instruction", "context", "paraphrases"}
    )
    if said["models"]["openvino"] is None:  # a study begun before there was such a key goes on
        del said["models"]["openvino"]
    for section, names in PRICED.items():
        said[section] = {key: value for key, value in said[section].items() if key not in names}
    said["models"]["endpoints"] = {
        name: {key: one[key] for key in ("base_url", "model")} for name, one in said["models"]["endpoints"].items()
    }
    digest = hashlib.sha256(json.dumps(said, sort_keys=True, ensure_ascii=True, allow_nan=False).encode())
    for file in files:
        with file.open("rb") as data:
            digest.update(hashlib.file_digest(data, "sha256").digest())
    for one in documents:
        digest.update(json.dumps([one.id, one.title, one.text]).encode())
    for name in MODEL_FOLDERS:
        where = _model_folder(getattr(settings.models, name) or "", folder)
        if where is not None:
            digest.update(_model_digest(where))
    return digest.hexdigest()


def _model_digest(folder: Path) -> bytes:
    """Hash names and sizes of a model's files, all of its JSON, and of its weights the beginning and samples of the rest."""
    digest = hashlib.sha256()
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    for name in names:
        path = folder / name
        if any(part.startswith(".") for part in Path(name).parts):
            continue  # what tools leave behind: .git, .cache, .DS_Store
        size = path.stat().st_size
        digest.update(json.dumps([name, size]).encode())
        if path.suffix == ".json":
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        elif path.suffix in (".safetensors", ".bin"):
            with path.open("rb") as data:
                digest.update(data.read(WEIGHTS_HEAD))
                for i in range(WEIGHTS_SAMPLES):  # the beginning may be all names of tensors
                    data.seek(size * i // WEIGHTS_SAMPLES)
                    digest.update(data.read(1024))
    return digest.digest()
