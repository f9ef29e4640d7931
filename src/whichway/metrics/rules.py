"""The metric of house rules: which share of them a text keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from whichway.core.rules import Rules
from whichway.core.task import Example, Prediction
from whichway.metrics.resampling import means, once
from whichway.registry import register


@register("metric", "rule_compliance")
@dataclass(frozen=True)
class RuleCompliance:
    """Mean share of the house rules (core/rules.py) that an answer keeps, of those that apply to its row.

    A row to which no rule applies scores 1, an answer that does not parse 0. `rules` is a Rules or a mapping of its fields.
    """

    rules: Rules | Mapping[str, Any] = field(default_factory=Rules)
    name: ClassVar[str] = "rule_compliance"
    is_mean: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    shapes: ClassVar[tuple[str, ...]] = ("text",)
    uses_target: ClassVar[bool] = False

    def score_example(self, example: Example, prediction: Prediction) -> float:
        if not prediction.parsed:
            return 0.0
        rules = self.rules if isinstance(self.rules, Rules) else Rules.of(self.rules)
        checked = rules.checked(str(prediction.value), example.inputs)
        return sum(kept for _, kept in checked) / len(checked) if checked else 1.0

    def aggregate(self, scores: Sequence[Any]) -> float:
        return once(self, scores)

    def resample(self, scores: Sequence[Any], index: Any) -> Any:
        return means(scores, index)
