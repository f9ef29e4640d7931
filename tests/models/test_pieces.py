"""What is read at a time: rows of like length together, where padding them would cost more than reading them apart."""

from __future__ import annotations

import random
from itertools import product

import pytest

from whichway.models.decoding import pieces


def cost(lengths: list[int], cuts: list[slice], each: int) -> int:
    return sum((one.stop - one.start) * lengths[one.stop - 1] + each for one in cuts)


@pytest.mark.parametrize("seed", range(20))
def test_no_other_way_of_cutting_costs_less(seed: int) -> None:
    draw = random.Random(seed)
    lengths = sorted(draw.choices(range(1, 100), k=draw.randint(1, 9)))
    most, each = draw.choice([60, 150, 400]), draw.choice([0, 16, 64])
    found = pieces(lengths, most, each)
    assert [i for one in found for i in range(one.start, one.stop)] == list(range(len(lengths)))
    assert all((o.stop - o.start) * lengths[o.stop - 1] <= most for o in found if o.stop - o.start > 1)
    every = []
    for marks in product([False, True], repeat=len(lengths) - 1):
        ends = [i + 1 for i, cut in enumerate(marks) if cut] + [len(lengths)]
        cuts = [slice(a, b) for a, b in zip([0, *ends], ends, strict=False)]
        if all((o.stop - o.start) * lengths[o.stop - 1] <= most for o in cuts if o.stop - o.start > 1):
            every.append(cost(lengths, cuts, each))
    assert cost(lengths, found, each) == min(every)


def test_rows_of_one_length_are_one_piece_and_a_row_longer_than_the_bound_stands_alone() -> None:
    assert pieces([7] * 64, 4096, 32) == [slice(0, 64)]
    assert pieces([5, 5, 5000], 4096, 32) == [slice(0, 2), slice(2, 3)]
