"""The metric of a task file, the usual one of a shape, and those that are reported beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields as parameters
from typing import Any

from whichway import registry
from whichway.core.output import Labels
from whichway.core.rules import Rules
from whichway.core.task import Document
from whichway.core.text import Text
from whichway.errors import TaskFileError, UsageError
from whichway.intake.finding import nearest, show
from whichway.intake.shapes import Output
from whichway.intake.taskfile import MetricChoice, TaskFile
from whichway.intake.yamltext import Trail, Yaml

DEFAULT_METRIC = {"labels": "accuracy", "fields": "field_f1", "text": "token_f1"}


def make_metric(settings: TaskFile, said: Yaml, output: Output, documents: Sequence[Document]) -> Any:
    """Return the metric of the task file, or the usual one of the shape.

    Raises TaskFileError for a metric that does not exist, does not take the parameters, or scores another shape.
    """
    chosen = settings.metric or MetricChoice(name=DEFAULT_METRIC[output.shape])
    return _made(chosen, ("metric",), said, output, _given(settings, output, documents))


def make_further(settings: TaskFile, said: Yaml, output: Output, documents: Sequence[Document]) -> tuple[Any, ...]:
    """Return the metrics that are reported beside the one that decides; raises TaskFileError as `make_metric` does."""
    names = [settings.metric.name if settings.metric else DEFAULT_METRIC[output.shape]]
    found = []
    for number, chosen in enumerate(settings.further):
        trail: Trail = ("further", number)
        if chosen.name in names:
            raise said.bad(trail, f"the metric {show(chosen.name)} is there twice.", "Leave it out here.")
        names.append(chosen.name)
        found.append(_made(chosen, trail, said, output, _given(settings, output, documents)))
    return tuple(found)


def _made(chosen: MetricChoice, trail: Trail, said: Yaml, output: Output, given: Mapping[str, Any]) -> Any:
    name, params = chosen.name, dict(chosen.params)
    positive = params.get("positive")
    if positive is not None and isinstance(output, Labels) and positive not in output.names:
        fix = nearest(str(positive), list(output.names))
        raise said.bad((*trail, "positive"), f"there is no label {show(positive)}.", fix)
    made = _class_of(name, trail, said, output)
    known = {one.name for one in parameters(made)} if hasattr(made, "__dataclass_fields__") else set()
    params = {key: value() for key, value in given.items() if key in known and key not in params} | params
    if "documents" in getattr(made, "needs", ()) and not params.get("documents"):
        what = f"the metric {show(name)} compares with documents, and the task has none."
        raise said.bad(trail, what, "Name them: documents: FOLDER.")
    try:
        return made(**params)
    except (TypeError, ValueError) as error:
        fix = f"Check the parameters of {name}: {error}."
        raise said.bad(trail, f"the metric {show(name)} does not take these parameters.", fix) from None
    except UsageError as error:
        raise TaskFileError(error.problem, error.fix) from None


def _class_of(name: str, trail: Trail, said: Yaml, output: Output) -> Any:
    """Return the metric of this name, if it exists, scores this shape and needs no judge."""
    if name not in registry.names("metric"):
        raise said.bad(trail, f"there is no metric {show(name)}.", nearest(name, registry.names("metric")))
    made = registry.get("metric", name)
    shapes = getattr(made, "shapes", ("labels",))
    if output.shape not in shapes:
        fit = [
            one
            for one in registry.names("metric")
            if output.shape in getattr(registry.get("metric", one), "shapes", ())
        ]
        what = f"the metric {show(name)} scores {' and '.join(shapes)}; the answers are of the shape `{output.shape}`."
        raise said.bad(trail, what, f"Choose one of: {', '.join(fit)}.")
    if "model" in getattr(made, "needs", ()):
        what = f"the metric {show(name)} is a judge, and a judge alone never decides."
        raise said.bad(trail, what, "Choose another metric, and name the judge beside it: judge: {model: NAME}.")
    return made


def _given(settings: TaskFile, output: Output, documents: Sequence[Document]) -> dict[str, Any]:
    """Return what a metric may ask for and a task file cannot write down, each made when it is asked for."""
    return {
        "rules": lambda: output.rules if isinstance(output, Text) else Rules(),
        "documents": lambda: {one.id: f"{one.title}\n{one.text}" if one.title else one.text for one in documents},
        "embedder": lambda: registry.get("model", "encoder")(settings.models.embedder),
    }
