"""The metric of data-to-text: is each attribute of the row stated, and none that the row has not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from whichway.core.rules import words
from whichway.core.task import Example, Prediction
from whichway.metrics.phrases import known_values, learn_phrases
from whichway.metrics.resampling import once, ratios
from whichway.metrics.slots import attributes, is_yes_no, masked, names, says, yes_no_phrase
from whichway.registry import register


@register("metric", "slot_coverage")
@dataclass(frozen=True)
class SlotCoverage:
    """1 - slot error rate: attributes stated wrongly, left out or invented, per attribute given (Wen et al. 2015, section 5.1).

    An input field with a value is an attribute, of `fields` or of all. It is stated by its value word for word, or by one of
    `phrases[field][value]`; "not kid friendly" there means that a negation stands up to three words before "kid friendly".
    A yes/no attribute is stated by its name ("familyFriendly": family friendly), negated or not. An attribute that the row has
    not is invented where a phrase of any of its values stands, or, of `values[field]` without phrases, the value itself; one
    that it has is contradicted where the text also says what stands for another value only. An attribute is one error at
    most, and a row has at most as many as attributes. What is not given is learned from rows: see `taught`.
    """

    phrases: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    values: Mapping[str, Sequence[str]] = field(default_factory=dict)
    fields: Sequence[str] = ()
    name: ClassVar[str] = "slot_coverage"
    is_mean: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    shapes: ClassVar[tuple[str, ...]] = ("text",)
    uses_target: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if isinstance(self.fields, str):  # one field, as a task file may name it
            object.__setattr__(self, "fields", (self.fields,))

    def taught(self, examples: Sequence[Example]) -> SlotCoverage:
        """Return this metric with the `phrases` and `values` that labelled rows teach, where it has none yet."""
        phrases = self.phrases or learn_phrases(examples, self.fields)
        return replace(self, phrases=phrases, values=self.values or known_values(examples, self.fields))

    def score_example(self, example: Example, prediction: Prediction) -> list[int]:
        """Return attributes that are right, and attributes."""
        given = self._given(example.inputs)
        if not prediction.parsed:
            return [0, len(given)]
        wrong = len(self.errors(example.inputs, str(prediction.value)))
        return [max(0, len(given) - wrong), len(given)]

    def aggregate(self, scores: Sequence[Any]) -> float:
        return once(self, scores)

    def resample(self, scores: Sequence[Any], index: Any) -> Any:
        return ratios(scores, index)

    def errors(self, inputs: Mapping[str, Any], text: str) -> list[str]:
        """Name each slot error of a text: "missing: area = riverside", "invented: area = ...", "contradicted: area = ..."."""
        given, said = self._given(inputs), words(text)
        missing = [name for name, value in given.items() if not self._stated(name, value, said)]
        found = [f"missing: {name} = {given[name]}" for name in missing]
        rest = masked(said, given.values())
        for name in sorted({*self.phrases, *self.values} - set(missing)):
            if not self.fields or name in self.fields:
                found += self._strange(name, given.get(name), rest)
        return found

    def _given(self, inputs: Mapping[str, Any]) -> dict[str, str]:
        return attributes(inputs, self.fields or tuple(inputs))

    def _stated(self, name: str, value: str, said: list[str]) -> bool:
        written = self.phrases.get(name, {}).get(value, ())
        return any(says(said, phrase) for phrase in written) or self._verbatim(name, value, said)

    def _strange(self, name: str, given: str | None, said: list[str]) -> list[str]:
        """Name a value that a text states though the row has another one, or none."""
        phrases = self.phrases.get(name, {})
        own = () if given is None else tuple(phrases.get(given, ()))
        rest = masked(said, [one for one in own if not one.startswith("not ")])
        for value in dict.fromkeys([*phrases, *map(str, self.values.get(name, ()))]):
            written = [one for one in phrases.get(value, ()) if one not in own]
            stated = any(says(rest, one) for one in written)
            if value != given and (stated or (value not in phrases and self._verbatim(name, value, rest))):
                return [f"{'invented' if given is None else 'contradicted'}: {name} = {value}"]
        return []

    @staticmethod
    def _verbatim(name: str, value: str, said: list[str]) -> bool:
        return says(said, yes_no_phrase(name, value)) if is_yes_no(value) else names(said, value)
