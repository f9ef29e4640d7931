"""From likelihoods or generated text to answers with a confidence: calibration, thresholds, parsing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from whichway.core.model import Reply
from whichway.core.output import Labels
from whichway.core.task import Prediction, Task
from whichway.strategies.parts.bias import Fitted, fit_bias
from whichway.strategies.parts.prompting import PromptFormat
from whichway.strategies.parts.sparing import Sparing, learn_sparing, sparing_from
from whichway.strategies.parts.trust import Trust

Spares = Any  # a Sparing, log-probabilities [rows, answers, tokens] that teach one, or None
FAINTEST = 1e-6  # probability below which an answer's tokens tell no more
NONE = "none"  # the extra continuation that stands for the empty set of labels


@dataclass(frozen=True)
class LikelihoodReader:
    """Turns log-likelihoods [rows, answers] into predictions.

    `bias` is subtracted: what the prompt leans to, whatever the input is. `heat` divides the logits (temperature scaling, Guo et
    al. 2017). With several labels, those are taken whose probability is at least `share` of the largest. With `sparing`
    those far below a row's best may have an estimate for a likelihood.
    """

    answers: tuple[str, ...]
    multi: bool
    bias: tuple[float, ...]
    heat: float = 1.0
    share: float = 0.5
    sparing: Sparing | None = None

    @property
    def reach(self) -> float:
        """Nats below a row's best, each less its bias, from which on an answer may have an estimate."""
        return math.inf if self.sparing is None else self.sparing.close * self.heat

    def read(self, table: Any) -> list[Prediction]:
        """Answer each row of log-likelihoods."""
        return [self.answer(row) for row in self.probabilities(table)]

    def probabilities(self, table: Any) -> Any:
        """Return float64 [rows, answers] that sum to one."""
        import numpy as np
        from scipy.special import log_softmax, softmax

        return softmax((log_softmax(np.asarray(table), axis=1) - np.array(self.bias)) / self.heat, axis=1)

    def answer(self, row: Any) -> Prediction:
        """Answer a row by the probabilities of the answers."""
        scores = {name: round(float(p), 6) for name, p in zip(self.answers, row, strict=True)}
        best = self.answers[int(row.argmax())]
        if not self.multi:
            return Prediction(best, scores[best], scores)
        scores.pop(NONE, None)
        if best == NONE:
            return Prediction((), round(float(row.max()), 6), scores)
        value = tuple(sorted(name for name, p in scores.items() if p >= self.share * float(row.max())))
        return Prediction(value, round(float(sum(scores[name] for name in value)), 6), scores)


def answer_names(output: Labels) -> tuple[str, ...]:
    """Return all that can be scored: the labels, and for several labels also 'none'."""
    return (*output.names, NONE) if output.multi and NONE not in output.names else output.names


def continuations(task: Task, form: PromptFormat) -> list[str]:
    """Return the text of each answer as it follows a prompt that ends in a marker."""
    return [" " + form.label_text(name) for name in answer_names(task.labels)]


def fit_reader(
    task: Task, table: Any, targets: Sequence[Any], calibrate: bool = True, spares: Spares = None
) -> LikelihoodReader:
    """Learn calibration, temperature and threshold from labelled rows.

    `table` are log-likelihoods of rows with `targets`; `spares` are those of each token, by which is learned what it can do
    without, or what was learned. With `calibrate`, a leaning of the prompt is taken out: for one label out of several by a
    bias that is fitted (bias.py), for several at once by batch calibration.
    """
    names, multi = answer_names(task.labels), task.labels.multi
    plain = LikelihoodReader(names, multi, (0.0,) * len(names))
    if not len(targets):
        return plain
    if not calibrate or multi:
        warm = _warm(replace(plain, bias=_batch(table)) if calibrate else plain, table, targets)
        return _sparing(task, warm, spares)
    found = _fitted(names, table, targets)
    return _sparing(task, replace(plain, bias=found.bias, heat=found.heat), spares)


def _sparing(task: Task, reader: LikelihoodReader, spares: Spares) -> LikelihoodReader:
    """Let a reader do without likelihoods that hardly matter to it; not where a metric ranks rows by the least of them."""
    if spares is None or any(getattr(metric, "ranks_scores", False) for metric in (task.metric, *task.further)):
        return reader
    found = spares if isinstance(spares, Sparing) else learn_sparing(reader, spares)
    return replace(reader, sparing=found)


def read_left_out(
    task: Task, table: Any, targets: Sequence[Any], spares: Spares = None
) -> tuple[LikelihoodReader, list[Prediction]]:
    """Learn a reader, and answer the rows by which it is learned: each, where a bias is fitted, by the other rows alone."""
    if task.labels.multi or len(targets) < 2:
        reader = fit_reader(task, table, targets, spares=spares)
        return reader, reader.read(table)
    names = answer_names(task.labels)
    found = _fitted(names, table, targets)
    reader = LikelihoodReader(names, False, found.bias, found.heat)
    return _sparing(task, reader, spares), [reader.answer(row) for row in found.left_out]


def _fitted(names: Sequence[str], table: Any, targets: Sequence[Any]) -> Fitted:
    """Return the bias of rows with one label each, held to batch calibration, or to none."""
    return fit_bias(table, [list(names).index(one) for one in targets], _batch)


def _batch(table: Any) -> tuple[float, ...]:
    """Return what the prompt says of these rows on average: batch calibration (Zhou et al. 2023)."""
    import numpy as np
    from scipy.special import log_softmax, logsumexp

    mean = logsumexp(log_softmax(np.asarray(table), axis=1), axis=0) - math.log(len(table))
    return tuple(float(x) for x in mean - mean.mean())


def _hits(reader: LikelihoodReader, table: Any, targets: Sequence[Any]) -> float:
    """Return right answers plus, to break ties, a little of the probability of the right ones."""
    rows = reader.probabilities(table)
    sure = [
        row[[reader.answers.index(name) for name in _names(t)]].mean() for row, t in zip(rows, targets, strict=True)
    ]
    right = [one.value == target for one, target in zip(reader.read(table), targets, strict=True)]
    return float(sum(right) + 0.01 * sum(sure))


def _warm(reader: LikelihoodReader, table: Any, targets: Sequence[Any]) -> LikelihoodReader:
    """Choose the temperature by likelihood and, for several labels, the share by right answers."""
    import numpy as np

    def likelihood(heat: float) -> float:
        rows = replace(reader, heat=heat).probabilities(table)
        right = [row[[reader.answers.index(n) for n in _names(t)]].mean() for row, t in zip(rows, targets, strict=True)]
        return float(np.log(np.clip(right, 1e-6, 1)).sum())

    heat = max((0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0), key=likelihood)
    warmed = [
        replace(reader, heat=heat, share=share) for share in ((0.5, 0.1, 0.2, 0.35, 0.7) if reader.multi else (0.5,))
    ]
    return max(warmed, key=lambda one: _hits(one, table, targets))


def _names(target: Any) -> tuple[str, ...]:
    return (target,) if isinstance(target, str) else tuple(target) or (NONE,)


@dataclass(frozen=True)
class TextReader:
    """Turns generated text into predictions; `trust` says how sure an answer is, from the probability of its tokens."""

    trust: Trust
    fallback: Any

    def read(self, task: Task, form: PromptFormat, replies: Sequence[Reply]) -> list[Prediction]:
        """Answer each reply; what cannot be read, was cut off or failed is marked as not parsed."""
        spelled = Labels(tuple(form.label_text(name) for name in task.labels.names), task.labels.multi)
        back = {form.label_text(name): name for name in task.labels.names}
        answers = [self._one(spelled, back, reply) for reply in replies]
        return self.trust.apply(answers, [label_evidence(one) for one in replies])

    def _one(self, spelled: Labels, back: Mapping[str, str], reply: Reply) -> Prediction:
        value = None if reply.finish != "stop" else spelled.read(reply.text)
        if value is None:
            return Prediction(self.fallback, 0.0, None, parsed=False)
        return Prediction(back[value] if isinstance(value, str) else tuple(sorted(back[one] for one in value)), 0.5)


def label_evidence(reply: Reply) -> float | None:
    """Return the log-odds of a reply's tokens, where the endpoint reported them; `AS_SAID` makes their probability of it."""
    sure = _sureness(reply)
    return None if sure is None else math.log(max(FAINTEST, sure) / max(FAINTEST, 1 - sure))


def _sureness(reply: Reply) -> float | None:
    """Return the probability of the generated tokens where the endpoint reported them."""
    if not reply.top_logprobs:
        return None
    return math.exp(min(0.0, sum(max(one.values()) for one in reply.top_logprobs if one)))


def reader_to_json(reader: LikelihoodReader) -> dict[str, Any]:
    """Return plain data from which `reader_from_json` makes the same reader."""
    return asdict(reader)


def reader_from_json(kept: Mapping[str, Any]) -> LikelihoodReader:
    """Undo `reader_to_json`."""
    return LikelihoodReader(
        tuple(kept["answers"]),
        kept["multi"],
        tuple(kept["bias"]),
        float(kept["heat"]),
        float(kept["share"]),
        sparing_from(kept.get("sparing")),
    )
