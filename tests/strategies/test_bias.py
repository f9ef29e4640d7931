"""A prompt's leaning to one answer is taken out by labelled rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from whichway.core.output import Labels
from whichway.core.task import Field, Task
from whichway.metrics.labels import Accuracy
from whichway.strategies.parts.answering import fit_reader, read_left_out
from whichway.strategies.parts.bias import fit_bias

NAMES = ("a", "b", "c")


def drawn(rows: int, shares: Any, lean: Any, seed: int = 0, told: float = 2.0) -> tuple[Any, Any]:
    """Draw right answers by their shares, and log-likelihoods that tell them apart but lean to some answers."""
    rng = np.random.default_rng(seed)
    right = rng.choice(len(shares), size=rows, p=shares)
    table = rng.normal(size=(rows, len(shares))) + lean
    table[np.arange(rows), right] += told
    return table, right


def no_lean(rows: Any) -> Any:
    return np.zeros(rows.shape[1])


def accuracy(table: Any, right: Any, bias: Any) -> float:
    return float((np.argmax(log_softmax(table, axis=1) - bias, axis=1) == right).mean())


def test_fitted_bias_takes_out_a_lean() -> None:
    lean = (3.0, 0.0, -2.0)
    bias = fit_bias(*drawn(48, (1 / 3, 1 / 3, 1 / 3), lean), no_lean).bias
    table, right = drawn(4000, (1 / 3, 1 / 3, 1 / 3), lean, seed=1)
    fair = accuracy(table, right, np.array(lean))
    assert accuracy(table, right, np.zeros(3)) < fair - 0.3
    assert accuracy(table, right, np.array(bias)) > fair - 0.03


def test_fitted_bias_learns_what_is_rare() -> None:
    """Batch calibration alone would make half of the answers the rare one."""
    shares = (0.9, 0.1)
    table, right = drawn(48, shares, (0.0, 0.0), told=1.0)
    batch = np.log(softmax(table, axis=1).mean(axis=0))
    bias = fit_bias(table, right, lambda _: batch - batch.mean()).bias
    table, right = drawn(4000, shares, (0.0, 0.0), seed=1, told=1.0)
    assert accuracy(table, right, np.array(bias)) > accuracy(table, right, batch) + 0.1


def test_rows_that_tell_nothing_leave_the_bias_where_it_was() -> None:
    start = (1.0, 0.0, -1.0)
    table, _ = drawn(12, (1 / 3, 1 / 3, 1 / 3), start)
    bias = fit_bias(table, [0, 1, 2] * 4, lambda _: start).bias
    assert np.abs(np.array(bias) - start).max() < 0.75


@pytest.mark.parametrize("factor", [0.4, 2.5])
def test_temperature_undoes_a_scale(factor: float) -> None:
    """Answers drawn from softmax(x) and told as factor * x need a heat of about `factor`."""
    rng = np.random.default_rng(3)
    table = log_softmax(2 * rng.normal(size=(400, 4)), axis=1)
    right = [int(rng.choice(4, p=np.exp(row))) for row in table]
    heat = fit_bias(table * factor, right, no_lean).heat
    assert factor / 1.35 < heat < factor * 1.35


def test_a_row_is_not_answered_by_its_own_label() -> None:
    """Where answers are told by chance, the fit finds something in its own rows, and nothing in those left out."""
    rng = np.random.default_rng(5)
    task, table = a_task(), rng.normal(size=(30, 3))
    right = [NAMES[one] for one in rng.integers(0, 3, 30)]
    reader, said = read_left_out(task, table, right)
    assert reader == fit_reader(task, table, right)
    whole = fit_reader(task, table, right).read(table)
    assert sum(np.log(one.scores[name]) for one, name in zip(said, right, strict=True)) < sum(
        np.log(one.scores[name]) for one, name in zip(whole, right, strict=True)
    )


def test_reader_is_fitted_unless_calibration_is_off() -> None:
    table, right = drawn(40, (0.2, 0.3, 0.5), (3.0, 0.0, 0.0))
    targets = [NAMES[one] for one in right]
    assert fit_reader(a_task(), table, targets).bias[0] > 1
    assert fit_reader(a_task(), table, targets, calibrate=False).bias == (0.0, 0.0, 0.0)
    assert fit_reader(a_task(), table[:0], []).bias == (0.0, 0.0, 0.0)


def test_several_labels_at_once_are_read_after_what_is_said_on_average() -> None:
    table, right = drawn(40, (0.2, 0.3, 0.5), (3.0, 0.0, 0.0))
    found = fit_reader(a_task(multi=True), np.hstack([table, np.full((40, 1), -9.0)]), [(NAMES[one],) for one in right])
    assert found.answers == (*NAMES, "none")
    assert found.bias[0] - found.bias[1] > 1


def a_task(multi: bool = False) -> Task:
    return Task("t", "Say which.", (Field("text"),), Labels(NAMES, multi), Accuracy())


def test_one_row_teaches_next_to_nothing() -> None:
    found = fit_bias(np.log([[0.7, 0.2, 0.1]]), [0], lambda rows: np.log(np.exp(rows).mean(axis=0)))
    assert np.isfinite(found.bias).all() and np.isfinite(found.left_out).all()


def test_of_many_labels_few_rows_tell_no_leaning() -> None:
    """What a model says of 48 rows on average is mostly which of 60 labels those rows happen to have."""

    def batch(rows: Any) -> Any:
        mean = np.log(np.exp(rows).mean(axis=0))
        return mean - mean.mean()

    shares = (1 / 60,) * 60
    table, right = drawn(48, shares, np.zeros(60), told=5.0)
    bias = np.array(fit_bias(table, right, batch).bias)
    fresh = drawn(4000, shares, np.zeros(60), seed=1, told=5.0)
    assert accuracy(*fresh, bias) > accuracy(*fresh, np.zeros(60)) - 0.02
    assert accuracy(*fresh, bias) > accuracy(*fresh, batch(log_softmax(table, axis=1))) + 0.02
