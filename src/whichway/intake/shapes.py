"""The shape of a task's answers: which one it is, its schema or its labels."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from whichway.core.fields import Fields
from whichway.core.output import Labels
from whichway.core.rules import Rules
from whichway.core.schema import followed
from whichway.core.task import Example
from whichway.core.text import Text
from whichway.errors import DataError, UsageError
from whichway.intake.checks import labels_of
from whichway.intake.finding import nearest, refuse, show
from whichway.intake.guess import MAX_CLASSES, guess_shape
from whichway.intake.rows import Columns
from whichway.intake.tables import Table
from whichway.intake.taskfile import TaskFile
from whichway.intake.yamltext import Yaml

Output = Labels | Fields | Text
FEWEST_ROWS = 20
SHORT = 40  # characters of an answer of one word that is more likely a label


def shape_of(settings: TaskFile, values: Sequence[Any]) -> str:
    """Return 'labels', 'fields' or 'text': as the task file says, else as the answers look."""
    if settings.output.shape is not None:
        return settings.output.shape
    if settings.output.labels is not None or settings.output.multi:
        return "labels"
    if settings.output.fields_schema is not None:
        return "fields"
    if settings.output.rules or settings.output.unknown is not None:
        return "text"
    guessed = guess_shape(values)
    if guessed == "text" and len({str(one) for one in values}) <= len(values) / 2 and _are_short(values):
        return "labels"  # so many, each several times: refused with their number, unless the task file says `text`
    return guessed if guessed in ("fields", "text") else "labels"


def _are_short(values: Sequence[Any]) -> bool:
    return all(len(str(one)) <= SHORT and " " not in str(one).strip() for one in values)


def make_output(
    settings: TaskFile,
    said: Yaml,
    table: Table,
    columns: Columns,
    examples: Sequence[Example],
    test: Sequence[Example] = (),
) -> Output:
    """Return the output of the shape that `columns` names; raises DataError where the answers cannot be used."""
    if columns.shape == "fields":
        return _fields(settings, said, table, columns, examples, test)
    if columns.shape == "text":
        return _text(settings, said, columns, examples)
    declared = settings.output.labels
    if declared is not None:
        described = {label: text for label, text in declared.items() if text}
        output = Labels(tuple(declared), settings.output.multi, described)
    else:
        output = Labels(tuple(sorted({label for one in examples for label in labels_of(one)})), settings.output.multi)
    _refuse_too_few(table, columns, examples, output)
    return output


def with_test_labels(output: Output, test: Sequence[Example] | None) -> Output:
    """Add the labels that only the test rows have: an answer must be able to be wrong about them."""
    if not isinstance(output, Labels):
        return output
    more = {label for one in test or () for label in labels_of(one)} - set(output.names)
    return replace(output, names=(*output.names, *sorted(more)))


def infer_schema(values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a JSON Schema that all of these objects keep, their fields in the order of first appearance."""
    return _object(list(values))


def _text(settings: TaskFile, said: Yaml, columns: Columns, examples: Sequence[Example]) -> Text:
    try:
        rules = Rules.of(settings.output.rules)
    except UsageError as error:
        raise said.bad(("output", "rules"), error.problem, error.fix) from None
    except (TypeError, ValueError, AttributeError):
        fix = "Lists of words for must_mention and must_not_say, words by tone, numbers for the limits."
        raise said.bad(("output", "rules"), "a rule has a value of the wrong kind.", fix) from None
    names = [one.name for one in columns.fields]
    for name in rules.places():
        if name not in names:
            what = f"{show('{' + name + '}')} names no input field."
            raise said.bad(("output", "rules", "must_mention"), what, nearest(name, names))
    written = settings.output
    several_lines = any("\n" in str(one.target) for one in examples)
    stop = written.stop if written.stop is not None else () if several_lines else ("\n",)
    output = Text(rules, tuple(stop), written.most_tokens)
    return output if written.unknown is None else replace(output, unknown=written.unknown)


def _fields(
    settings: TaskFile,
    said: Yaml,
    table: Table,
    columns: Columns,
    examples: Sequence[Example],
    test: Sequence[Example],
) -> Fields:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError, best_match

    _refuse_few_rows(table, columns, examples)
    schema = settings.output.fields_schema
    if schema is None:
        return Fields(infer_schema([one.target for one in (*examples, *test)]))
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        what = f"this is no JSON Schema: {error.message}"
        raise said.bad(("output", "schema"), what, "See https://json-schema.org.") from None
    if not followed(schema, schema).get("properties"):
        fix = "Write: schema: {type: object, properties: {total: {type: number}, ...}, required: [total]}"
        raise said.bad(("output", "schema"), "the schema names no properties.", fix)
    schema = {"type": "object", **schema}
    checker, wrong = Draft202012Validator(schema), []
    for one in (*examples, *test):
        if not checker.is_valid(one.target):
            wrong.append((one, best_match(checker.iter_errors(one.target))))
    if wrong:
        row, worst = wrong[0]
        path = ".".join(map(str, worst.absolute_path)) or "the object"
        what = f"{len(wrong)} answers do not keep output.schema; first the row {show(row.id)}: {path}: {worst.message}"
        raise refuse(table.path, what, "Mend the rows, or the schema.", 0, columns.target or 0)
    return Fields(schema)


def _object(values: list[Any]) -> dict[str, Any]:
    names = list(dict.fromkeys(name for one in values for name in one))
    kept = {name: _any([one[name] for one in values if name in one]) for name in names}
    required = [name for name in names if all(name in one for one in values)]
    return {"type": "object", "properties": kept, "required": required, "additionalProperties": False}


def _any(values: list[Any]) -> dict[str, Any]:
    """Return a schema of values of one field: their types, and the schema within lists and objects."""
    kinds = list(dict.fromkeys(_kind(one) for one in values))
    if "number" in kinds and "integer" in kinds:
        kinds.remove("integer")
    made: dict[str, Any] = {"type": kinds[0] if len(kinds) == 1 else sorted(kinds)}
    if "array" in kinds:
        inner = [part for one in values if isinstance(one, list) for part in one]
        made["items"] = _any(inner) if inner else {"type": "string"}
    if "object" in kinds:
        made |= {
            key: one for key, one in _object([one for one in values if isinstance(one, dict)]).items() if key != "type"
        }
    return made


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    kinds = ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (list, "array"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "object")


def as_object(value: Any) -> dict[str, Any] | None:
    """Return an answer as the object it is or, as in a CSV cell, spells; None for anything else."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, dict) else None


def _refuse_few_rows(table: Table, columns: Columns, examples: Sequence[Example]) -> None:
    if len(examples) < FEWEST_ROWS:
        what = f"there are {len(examples)} labelled rows; at least {FEWEST_ROWS} are needed to compare anything."
        fix = f"Label {FEWEST_ROWS - len(examples)} more rows; a few hundred tell more."
        raise refuse(table.path, what, fix, 0, columns.target or 0)


def _refuse_too_few(table: Table, columns: Columns, examples: Sequence[Example], output: Labels) -> None:
    seen = {label for one in examples for label in labels_of(one)}
    where = columns.target or 0
    _refuse_few_rows(table, columns, examples)
    if len(seen) < 2:
        what = f"all rows have the same label ({show(next(iter(seen), 'none'), 30)}): there is nothing to tell apart."
        raise refuse(table.path, what, "Add rows of at least one other label, or check `target`.", 0, where)
    if len(output.names) > MAX_CLASSES:
        raise _too_many(table, columns, len(output.names))


def _too_many(table: Table, columns: Columns, count: int) -> DataError:
    what = f"there are {count:,} different labels; at most {MAX_CLASSES:,} are served."
    fix = "If these are free text, write `output: {shape: text}`; if labels, group them or check `target`."
    return refuse(table.path, what, fix, 0, columns.target or 0)
