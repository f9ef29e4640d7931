"""Texts that break a rule or miss a fact are written again several times, and the best draft is taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from whichway.core.model import Reply, Request, Spend
from whichway.core.task import Example, Inputs, Task
from whichway.core.text import Text
from whichway.registry import get
from whichway.strategies.parts.store import load_json, save_json

HEAT = 0.8  # temperature of further drafts
FIRST = 2  # drafts that are tried first: they mend most
MOST_ERRORS = 0.1  # share of people's own texts in which an attribute seems wrong, above which it is not checked
FEWEST_TEXTS = 40  # from which attributes are learned
FILE = "drafts.json"


@dataclass(frozen=True)
class Drafts:
    """Writes `count` further drafts for a text with a fault, and takes the one with the fewest, the likeliest of those.

    Faults are broken house rules, and attributes of the row that the text leaves out, contradicts or invents, by what
    train rows teach (after the reranker of TGen, Dusek and Jurcicek 2016, which scored every beam; here only texts with a
    fault cost more). `facts` is the metric slot_coverage over the attributes that people's own texts state; None: no such.
    """

    task: Task
    count: int
    facts: Any = None

    def improve(
        self,
        inputs: Sequence[Inputs],
        asked: Sequence[Request],
        replies: Sequence[Reply],
        generate: Callable[[Sequence[Request]], list[Reply]],
    ) -> list[Reply]:
        """Return the best draft per row; only rows whose reply has a fault are written again, those with one still again."""
        best = list(replies)
        for count in (min(FIRST, self.count), self.count - FIRST):
            again = [at for at, one in enumerate(best) if self.faults(inputs[at], one)] if count > 0 else []
            new = (
                generate([replace(asked[at], temperature=HEAT) for at in again for _ in range(count)]) if again else []
            )
            for number, at in enumerate(again):
                best[at] = self._best(inputs[at], [best[at], *new[number * count : (number + 1) * count]])
        return best

    def _best(self, row: Inputs, drafts: Sequence[Reply]) -> Reply:
        """Return the draft with the fewest faults, the likeliest of those, at the price of all."""
        ranks = [(self.faults(row, one), -(one.mean_logprob or 0.0), i) for i, one in enumerate(drafts)]
        return replace(drafts[min(ranks)[-1]], spend=sum((one.spend for one in drafts), Spend()))

    def faults(self, row: Inputs, reply: Reply) -> int:
        """Count what is wrong with a reply: one that was cut off has more faults than any other, 'I do not know' has none."""
        value = self.task.output.read(reply.text) if reply.finish == "stop" else None
        if not value:
            return 1_000 if value is None else 0
        assert isinstance(self.task.output, Text)
        return len(self.task.output.rules.broken(value, row)) + len(self.facts.errors(row, value) if self.facts else ())

    def save(self, folder: Path) -> None:
        """Write what train has taught."""
        facts = self.facts and {
            "phrases": self.facts.phrases,
            "values": self.facts.values,
            "fields": list(self.facts.fields),
        }
        save_json(folder / FILE, {"count": self.count, "facts": facts})


def fit_drafts(task: Task, count: int, train: Sequence[Example]) -> Drafts | None:
    """Learn which attributes people's texts state; None where a text has nothing that could be checked."""
    if not isinstance(task.output, Text) or not count:
        return None
    facts = _facts(train)
    has_rules = bool(task.output.rules.describe())
    return Drafts(task, count, facts) if has_rules or facts else None


def load_drafts(task: Task, folder: Path) -> Drafts | None:
    """Read what `Drafts.save` wrote; None where there is nothing."""
    if not (folder / FILE).exists():
        return None
    kept: Mapping[str, Any] = load_json(folder / FILE)
    return Drafts(task, kept["count"], kept["facts"] and get("metric", "slot_coverage")(**kept["facts"]))


def _facts(train: Sequence[Example]) -> Any:
    """Return slot_coverage over the attributes that hardly any of people's own texts gets wrong, or None."""
    texts = [(row, text) for row in train for text in (row.target, *row.references) if text]
    if len(texts) < FEWEST_TEXTS:
        return None
    made = get("metric", "slot_coverage")
    every = made().taught(train)
    wrong, seen = Counter[str](), Counter[str]()
    for row, text in texts:
        seen.update(every.values.keys() & {name for name, value in row.inputs.items() if value not in (None, "")})
        wrong.update({error.split(": ", 1)[1].split(" = ")[0] for error in every.errors(row.inputs, text)})
    sure = tuple(
        name for name in seen if wrong[name] <= MOST_ERRORS * len(texts) and _is_stated(wrong[name], seen[name])
    )
    return replace(every, fields=sure) if sure else None


def _is_stated(wrong: int, seen: int) -> bool:
    """Tell whether an attribute is right in most of the texts of rows that have it."""
    return wrong <= MOST_ERRORS * 2 * seen
