"""What is wrong, doubtful or leaking in labelled rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from whichway.core.fields import Fields
from whichway.core.output import Labels
from whichway.core.task import Example
from whichway.core.text import Text
from whichway.intake.finding import Finding, show
from whichway.intake.labels import label_findings
from whichway.intake.near import exact_key, fold, folded_key, near_pairs

RARE = 5
MOST_SHOWN = 20


def check(examples: Sequence[Example], test: Sequence[Example] | None, output: Labels | Fields | Text) -> list[Finding]:
    """Return everything noticed about the rows, the worst first.

    Takes seconds for 10,000 rows against 3,000 test rows. Raises nothing: rows that cannot be used never get this far.
    """
    found = check_rows(examples, output)
    if test:
        found += leak_findings(leaks(examples, test), dropped=False) + compare(examples, test, output)
    order = {"error": 0, "warning": 1, "info": 2}
    return sorted(found, key=lambda finding: order[finding.severity])


def check_rows(examples: Sequence[Example], output: Labels | Fields | Text) -> list[Finding]:
    """Return what is noticed within one set of rows."""
    if not isinstance(output, Labels):
        return [*_empty(examples), *_duplicates(examples), *_constant(examples)]
    counts = Counter(label for example in examples for label in labels_of(example))
    return [
        *_empty(examples),
        *_duplicates(examples),
        *_conflicts(examples),
        *_constant(examples),
        *_rare(counts, output),
        *_imbalance(counts, output),
        *label_findings(output, counts),
        *_label_in_input(examples, counts),
    ]


def compare(examples: Sequence[Example], test: Sequence[Example], output: Labels | Fields | Text) -> list[Finding]:
    """Return what differs between train and test: labels and groups."""
    return [*(_unseen_labels(examples, test) if isinstance(output, Labels) else ()), *_shared_groups(examples, test)]


def _unseen_labels(examples: Sequence[Example], test: Sequence[Example]) -> list[Finding]:
    known = {label for example in examples for label in labels_of(example)}
    unseen = sorted({label for example in test for label in labels_of(example)} - known)
    if not unseen:
        return []
    rows = [one.id for one in test if set(labels_of(one)) & set(unseen)]
    listed = ", ".join(show(label, 30) for label in unseen[:10])
    message = f"{len(rows)} test rows have a label that no train row has: {listed}. No strategy can learn it."
    return [_finding("label-only-in-test", "warning", message, rows)]


def _shared_groups(examples: Sequence[Example], test: Sequence[Example]) -> list[Finding]:
    shared = {one.group for one in test if one.group is not None} & {one.group for one in examples}
    if not shared:
        return []
    rows = [one.id for one in examples if one.group in shared]
    message = f"{len(rows)} train rows belong to {len(shared)} groups that are in the test file too."
    return [_finding("group-in-test", "warning", message, rows)]


def leaks(examples: Sequence[Example], test: Sequence[Example]) -> dict[str, tuple[str, str]]:
    """Return, by id of a train row that is in the test file: 'exact', 'normalised' or 'near', and the test row."""
    found: dict[str, tuple[str, str]] = {}
    exact = {exact_key(one.inputs): one.id for one in reversed(test)}
    folded = {folded_key(one.inputs): one.id for one in reversed(test)}
    for one in examples:
        if (key := exact_key(one.inputs)) in exact:
            found[one.id] = ("exact", exact[key])
        elif (text := folded_key(one.inputs)) in folded:
            found[one.id] = ("normalised", folded[text])
    rest = [one for one in examples if one.id not in found]
    for i, j in near_pairs(rest, test):
        found[rest[i].id] = ("near", test[j].id)
    return found


def leak_findings(found: Mapping[str, tuple[str, str]], dropped: bool) -> list[Finding]:
    """Return one finding for each way in which train rows are in the test file."""
    said = {
        "exact": "are word for word in the test file",
        "normalised": "are in the test file but for case, spaces, punctuation or Unicode form",
        "near": "are nearly in the test file (4 of 5 words and word pairs are the same)",
    }
    made = []
    for how, words in said.items():
        rows = [row for row, (kind, _) in found.items() if kind == how]
        if rows:
            after = "; they were left out of train" if dropped else ""
            made.append(_finding(f"leak-{how}", "warning", f"{len(rows)} train rows {words}{after}.", rows))
    return made


def labels_of(example: Example) -> tuple[str, ...]:
    """Return the labels of a row: none, one or several."""
    if example.target is None:
        return ()
    return example.target if isinstance(example.target, tuple) else (str(example.target),)


def _finding(code: str, severity: str, message: str, rows: Sequence[str] = ()) -> Finding:
    return Finding(code, "info" if severity == "info" else "warning", message, tuple(rows[:MOST_SHOWN]))


def _empty(examples: Sequence[Example]) -> list[Finding]:
    rows = [one.id for one in examples if not any(str(v).strip() for v in one.inputs.values() if v is not None)]
    return [_finding("empty-input", "warning", f"{len(rows)} rows have no input at all.", rows)] if rows else []


def _duplicates(examples: Sequence[Example]) -> list[Finding]:
    exact, folded, found = set(), set(), []
    rows: dict[str, list[str]] = {"duplicate": [], "duplicate-normalised": []}
    for one in examples:
        key, text = exact_key(one.inputs), folded_key(one.inputs)
        if key in exact:
            rows["duplicate"].append(one.id)
        elif text in folded:
            rows["duplicate-normalised"].append(one.id)
        exact.add(key)
        folded.add(text)
    if rows["duplicate"]:
        message = f"{len(rows['duplicate'])} rows repeat the inputs of an earlier row."
        found.append(_finding("duplicate", "warning", message, rows["duplicate"]))
    if rows["duplicate-normalised"]:
        message = f"{len(rows['duplicate-normalised'])} rows repeat an earlier row but for case, spaces or punctuation."
        found.append(_finding("duplicate-normalised", "warning", message, rows["duplicate-normalised"]))
    return found


def _conflicts(examples: Sequence[Example]) -> list[Finding]:
    """Rows that agree in their inputs and not in their label: label noise, or an input that is missing."""
    groups: dict[str, list[Example]] = defaultdict(list)
    for one in examples:
        groups[folded_key(one.inputs)].append(one)
    rows = [one.id for group in groups.values() if len({one.target for one in group}) > 1 for one in group]
    if not rows:
        return []
    message = f"{len(rows)} rows have the same input as another row and a different label, so no strategy can be right."
    return [_finding("conflicting-labels", "warning", message, rows)]


def _constant(examples: Sequence[Example]) -> list[Finding]:
    names = list(examples[0].inputs) if len(examples) > 1 else []
    found = []
    for name in names:
        if len({repr(one.inputs.get(name)) for one in examples}) == 1:
            message = f"The input {show(name)} is the same in all {len(examples)} rows, so it says nothing."
            found.append(_finding("constant-input", "warning", message))
    return found


def _rare(counts: Counter[str], output: Labels) -> list[Finding]:
    found = []
    rare = sorted(label for label, count in counts.items() if count < RARE)
    if rare:
        listed = ", ".join(f"{show(label, 30)} ({counts[label]})" for label in rare[:10])
        message = f"{len(rare)} labels have fewer than {RARE} rows: {listed}{', ...' if len(rare) > 10 else ''}."
        found.append(_finding("rare-label", "warning", message))
    absent = [label for label in output.names if label not in counts]
    if absent and counts:
        listed = ", ".join(show(label, 30) for label in absent[:10])
        found.append(_finding("label-without-rows", "warning", f"{len(absent)} labels have no row: {listed}."))
    return found


def _imbalance(counts: Counter[str], output: Labels) -> list[Finding]:
    if len(counts) < 2 or output.multi:
        return []
    (most, highest), lowest = counts.most_common(1)[0], min(counts.values())
    share = highest / sum(counts.values())
    if share < 0.8 and highest < 20 * lowest:
        return []
    severity = "warning" if share >= 0.95 else "info"
    message = f"{share:.1%} of the rows are {show(most, 30)}: always answering that would be right as often."
    return [_finding("imbalance", severity, message)]


def _label_in_input(examples: Sequence[Example], counts: Counter[str]) -> list[Finding]:
    """Labels whose words stand in most inputs of their own class and in few others: the answer may be given away."""
    folded = {label: fold(label) for label in counts if len(fold(label)) >= 3 and counts[label] >= RARE}
    if not folded:
        return []
    inside: Counter[str] = Counter()
    outside: Counter[str] = Counter()
    for one in examples:
        text = f" {fold(' '.join(str(value) for value in one.inputs.values() if value is not None))} "
        own = set(labels_of(one))
        for label, words in folded.items():
            if words in text and f" {words} " in text:
                (inside if label in own else outside)[label] += 1
    given = []
    for label in folded:
        share, others = inside[label] / counts[label], outside[label] / max(1, len(examples) - counts[label])
        if share > 0.5 and share > 2 * others:
            given.append(f"{show(label, 30)} ({share:.0%})")
    if not given:
        return []
    message = f"The label itself stands in most inputs of its rows: {', '.join(given[:10])}. Will it in use, too?"
    return [_finding("label-in-input", "warning", message)]
