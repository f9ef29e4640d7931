"""A model as judge: of two answers in both orders, or of one by a rubric; and how far people agree with it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from whichway.core.model import Model, Reply, Request
from whichway.core.task import Example, Inputs, Prediction
from whichway.errors import DataError, UsageError
from whichway.metrics.resampling import means, once
from whichway.registry import register

# A judge favours the answer it reads first, the longer one and its own (Zheng et al. 2023, section 3.3): both orders are asked
# here, and no figure of a judge is to be shown without its agreement with people.
Verdict = dict[str, Any]
TOKENS = 256
LOWEST, HIGHEST = 1, 5
CRITERIA = "Which answer is right, complete and clear?"
RUBRIC = "5: right, complete and clear. 3: partly right or incomplete. 1: wrong or beside the point."

_PAIR = """You compare two answers to one input. Their length and order do not matter.
{criteria}

Input:
{inputs}
{gold}
Answer 1:
{first}

Answer 2:
{second}

Give a reason in one sentence. Then write the last line as one of: Verdict: 1, Verdict: 2, Verdict: tie"""
_ONE = """You grade an answer to an input, from {low} to {high}.
{rubric}

Input:
{inputs}
{gold}
Answer:
{answer}

Give a reason in one sentence. Then write the last line as: Grade: and a whole number from {low} to {high}"""


def judge_pairs(
    model: Model,
    examples: Sequence[Example],
    ours: Sequence[Prediction],
    theirs: Sequence[Prediction],
    criteria: str = CRITERIA,
    show_target: bool = True,
) -> list[Verdict]:
    """Return for each row {"id", "verdict": "a" | "b" | "tie", "orders": [verdict, verdict], "reasons": [text, text]}.

    "a" is `ours`. The model is asked twice, with the answers exchanged; only a verdict that both orders agree on counts. A reply
    that failed or states no verdict is None in `orders`, and the row a tie. `show_target` shows it the right answer.
    """
    requests = []
    for row, one, other in zip(examples, ours, theirs, strict=True):
        about = {"criteria": criteria, "inputs": _shown(row.inputs), "gold": _gold(row, show_target)}
        requests += [
            _request(_PAIR, about | {"first": _said(a), "second": _said(b)}) for a, b in ((one, other), (other, one))
        ]
    replies = _answered(model, requests)
    verdicts = []
    for at, row in enumerate(examples):
        straight, swapped = replies[2 * at : 2 * at + 2]
        orders = [_winner(straight, "ab"), _winner(swapped, "ba")]
        agreed = orders[0] if orders[0] == orders[1] and orders[0] else "tie"
        reasons = [straight.text.strip(), swapped.text.strip()]
        verdicts.append({"id": row.id, "verdict": agreed, "orders": orders, "reasons": reasons})
    return verdicts


def judge_by_rubric(
    model: Model,
    examples: Sequence[Example],
    answers: Sequence[Prediction],
    rubric: str = RUBRIC,
    show_target: bool = True,
) -> list[Verdict]:
    """Return for each row {"id", "verdict": 1 to 5 or None, "score": 0 to 1, "reason"}.

    A reply that failed or states no grade has verdict None and score 0, and so has an answer that does not parse, unasked.
    """
    asked = [at for at, one in enumerate(answers) if one.parsed]
    requests = []
    for at in asked:
        row = examples[at]
        about = {"rubric": rubric, "inputs": _shown(row.inputs), "gold": _gold(row, show_target)}
        about |= {"answer": _said(answers[at]), "low": str(LOWEST), "high": str(HIGHEST)}
        requests.append(_request(_ONE, about))
    replies = dict(zip(asked, _answered(model, requests), strict=True))
    verdicts = []
    for at, (row, _) in enumerate(zip(examples, answers, strict=True)):
        reply = replies.get(at)
        grade = _grade(reply) if reply else None
        score = (grade - LOWEST) / (HIGHEST - LOWEST) if grade else 0.0
        verdicts.append({"id": row.id, "verdict": grade, "score": score, "reason": reply.text.strip() if reply else ""})
    return verdicts


def agreement(verdicts: Sequence[Verdict], human: Mapping[str, Any]) -> dict[str, float]:
    """Return {"n", "agreement", "kappa"} of a judge and people (id -> verdict): to be printed with every figure of the judge.

    Kappa is Cohen's (1960), unweighted: 0 is what chance gives, also where both always say the same one thing. Raises DataError
    where no row was judged by both.
    """
    pairs = [(one["verdict"], human[one["id"]]) for one in verdicts if one["id"] in human]
    n = len(pairs)
    if not n:
        raise DataError(
            "No row was judged both by the model and by people.", "Give people's verdicts by the ids of rows."
        )
    same = sum(a == b for a, b in pairs) / n
    ours, theirs = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    chance = sum(count * theirs[verdict] for verdict, count in ours.items()) / n**2
    return {"n": n, "agreement": same, "kappa": (same - chance) / (1.0 - chance) if chance < 1.0 else 0.0}


@register("metric", "rubric")
@dataclass(frozen=True)
class Rubric:
    """Mean grade that a model as judge gives by a rubric, 1 to 5 as 0 to 1 (G-Eval, Liu et al. 2023, without its weighting).

    Each answer is paid once; `score_examples` judges many in one call. Read it with `agreement` only.
    """

    model: Model | None = None
    rubric: str = RUBRIC
    show_target: bool = True
    name: ClassVar[str] = "rubric"
    is_mean: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    shapes: ClassVar[tuple[str, ...]] = ("text",)
    needs: ClassVar[tuple[str, ...]] = ("model",)
    uses_target: ClassVar[bool] = False

    def score_example(self, example: Example, prediction: Prediction) -> float:
        return self.score_examples([example], [prediction])[0]

    def score_examples(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[float]:
        """Score answers together."""
        if self.model is None:
            raise UsageError("The metric rubric was given no model to judge with.", "Pass one: Rubric(model=...).")
        graded = judge_by_rubric(self.model, examples, predictions, self.rubric, self.show_target)
        return [float(one["score"]) for one in graded]

    def aggregate(self, scores: Sequence[Any]) -> float:
        return once(self, scores)

    def resample(self, scores: Sequence[Any], index: Any) -> Any:
        return means(scores, index)


def _request(form: str, about: Mapping[str, str]) -> Request:
    """Fill the form in one pass: what an answer holds is never taken for a place of the form."""
    text = re.sub(r"\{(\w+)\}", lambda found: about[found[1]], form)
    return Request((("user", text),), max_tokens=TOKENS)


def _answered(model: Model, requests: Sequence[Request]) -> list[Reply]:
    return model.generate(requests) if requests else []


def _shown(inputs: Inputs) -> str:
    return "\n".join(f"{name}: {value}" for name, value in inputs.items() if value not in (None, ""))


def _gold(row: Example, show: bool) -> str:
    return f"\nA right answer:\n{row.target or '(there is none to be given)'}\n" if show else ""


def _said(answer: Prediction) -> str:
    return (str(answer.value) if answer.parsed else "") or "(no answer)"


def _winner(reply: Reply, order: str) -> Literal["a", "b", "tie"] | None:
    """Read the last verdict of a reply; `order` names who was shown as 1 and as 2."""
    found = re.findall(r"verdict\W*(?:answer\W*)?(1|2|tie)\b", reply.text, re.IGNORECASE)
    if reply.finish == "failed" or not found:
        return None
    if found[-1].lower() == "tie":
        return "tie"
    return "a" if order[int(found[-1]) - 1] == "a" else "b"


def _grade(reply: Reply) -> int | None:
    found = re.findall(rf"grade\W*([{LOWEST}-{HIGHEST}])(?![\d.]\d)\b", reply.text, re.IGNORECASE)
    return int(found[-1]) if found and reply.finish != "failed" else None
