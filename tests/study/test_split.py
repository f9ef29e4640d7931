"""The split: sizes, shares, what stays together, what never repeats."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from whichway.core.task import Example
from whichway.errors import DataError
from whichway.study.split import make_split


def rows(n: int, labels: int = 3, **more) -> list[Example]:
    return [Example(f"r{i}", {"text": f"row number {i}"}, f"l{i % labels}", **more) for i in range(n)]


def skewed(n: int) -> list[Example]:
    """Shares of about 60, 25, 10 and 5 %."""
    labels = ["w"] * 12 + ["x"] * 5 + ["y"] * 2 + ["z"]
    return [Example(f"r{i}", {"text": f"row number {i}"}, labels[i % 20]) for i in range(n)]


def parts_of(split) -> list[set[str]]:
    """Return the parts that must not share a row: per fold train, dev, validation and test."""
    return [set(split.test)] + [set(ids) for fold in split.folds[:1] for ids in (fold.train, fold.dev, fold.validation)]


@pytest.mark.parametrize(
    ("n", "test", "validation", "folds"),
    [
        (100, 0, 100, 5),
        (149, 0, 149, 5),
        (200, 100, 100, 5),
        (299, 100, 199, 5),
        (300, 100, 60, 1),
        (480, 160, 96, 1),
        (1000, 200, 200, 1),
        (5000, 1000, 1000, 1),
    ],
)
def test_each_part_has_the_size_that_the_number_of_labels_allows(n, test, validation, folds):
    split = make_split(rows(n), None, 0)
    assert abs(len(split.test) - test) <= 1
    assert abs(len(split.validation) - validation) <= 1
    assert len(split.folds) == folds
    assert split.test_from == ("split" if test else "none")
    for fold in split.folds:
        assert 0.10 <= len(fold.dev) / (len(fold.train) + len(fold.dev)) <= 0.20


@pytest.mark.parametrize("n", [100, 200, 300, 480, 1000])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_row_is_in_exactly_one_part_of_each_fold(n, seed):
    split = make_split(skewed(n), None, seed)
    everything = {f"r{i}" for i in range(n)}
    for fold in split.folds:
        parts = [fold.train, fold.dev, fold.validation]
        outside = everything - set(split.test)
        assert sum(len(part) for part in parts) == len(outside)
        assert set().union(*parts) == outside


@pytest.mark.parametrize("n", [120, 200, 299, 300, 480, 1000])
def test_folds_cover_the_validation_rows_exactly_once(n):
    split = make_split(skewed(n), None, 4)
    assert Counter(id_ for fold in split.folds for id_ in fold.validation) == Counter(split.validation)
    assert set(Counter(split.validation).values()) == {1}


@pytest.mark.parametrize("n", [200, 300, 480, 1000, 2000])
@pytest.mark.parametrize("seed", range(4))
def test_each_label_keeps_its_share_in_test_and_validation(n, seed):
    examples = skewed(n)
    target = {row.id: row.target for row in examples}
    split = make_split(examples, None, seed)
    whole = Counter(target.values())
    rest = whole - Counter(target[id_] for id_ in split.test)
    parts = [(split.test, whole, n)] + [(fold.validation, rest, n - len(split.test)) for fold in split.folds]
    for ids, pool, size in parts:
        found = Counter(target[id_] for id_ in ids)
        for label, count in pool.items():
            wanted = count * len(ids) / size
            assert abs(found[label] - wanted) <= 1.5, (label, found[label], wanted)


@pytest.mark.parametrize("labels", [10, 77])
@pytest.mark.parametrize("seed", range(3))
def test_many_labels_keep_their_shares_too(labels, seed):
    """Rounding every label up would use up the part before the last labels had their turn."""
    examples = rows(1000, labels)
    target = {row.id: row.target for row in examples}
    split = make_split(examples, None, seed)
    whole = Counter(target.values())
    for ids in (split.test, split.validation):
        found = Counter(target[id_] for id_ in ids)
        assert all(abs(found[label] - count * 0.2) <= 1.5 for label, count in whole.items())


@pytest.mark.parametrize("n", [120, 480])
def test_a_few_large_groups_leave_rows_to_compare_on(n):
    examples = [Example(f"r{i}", {"text": f"row {i}"}, f"l{i % 2}", group=f"g{i % 3}") for i in range(n)]
    split = make_split(examples, None, 0)
    assert split.validation
    assert all(fold.train and fold.validation for fold in split.folds)


@pytest.mark.parametrize("n", [120, 480])
def test_rows_that_all_hang_together_are_refused_with_a_fix(n):
    with pytest.raises(DataError, match="hang together") as caught:
        make_split([Example(f"r{i}", {"text": f"row {i}"}, f"l{i % 2}", group="one") for i in range(n)], None, 0)
    assert "`group`" in caught.value.fix


def test_rows_of_a_group_never_lie_in_two_parts():
    examples = [Example(f"r{i}", {"text": f"row {i}"}, f"l{i % 2}", group=f"g{i // 5}") for i in range(600)]
    group = {row.id: row.group for row in examples}
    parts = [{group[id_] for id_ in part} for part in parts_of(make_split(examples, None, 1))]
    assert sum(len(part) for part in parts) == len(set().union(*parts)) == 120


def test_rows_of_the_same_text_never_lie_in_two_parts_whatever_their_case_and_punctuation():
    texts = [f"please, refund order {i}" for i in range(200)]
    examples = [
        Example(f"r{i}-{k}", {"text": text}, f"l{i % 2}")
        for i, one in enumerate(texts)
        for k, text in enumerate((one, one.upper() + "!", f"  {one} "))
    ]
    parts = [{id_.split("-")[0] for id_ in part} for part in parts_of(make_split(examples, None, 1))]
    assert sum(len(part) for part in parts) == len(set().union(*parts)) == 200


def test_a_row_that_joins_two_groups_by_its_text_keeps_both_together():
    examples = [Example(f"r{i}", {"text": f"row {i}"}, f"l{i % 2}", group=f"g{i // 4}") for i in range(400)]
    examples[7] = Example("r7", {"text": "row 8"}, "l1", group="g1")  # the text of r8, which is in g2
    parts = parts_of(make_split(examples, None, 3))
    home = [i for i, part in enumerate(parts) for id_ in part if id_ in ("r4", "r7", "r8", "r11")]
    assert len(set(home)) == 1


def test_a_test_file_is_used_as_it_is_and_nothing_else_is_sealed():
    own = [Example(f"t{i}", {"text": f"test {i}"}, "l0") for i in range(37)]
    split = make_split(rows(400), own, 0)
    assert sorted(split.test) == sorted(row.id for row in own)
    assert split.test_from == "file"
    assert len(split.learning) == 400
    assert abs(len(split.validation) - 80) <= 1


def test_learning_is_all_that_is_not_in_the_test_part():
    split = make_split(rows(480), None, 0)
    assert set(split.learning) == {f"r{i}" for i in range(480)} - set(split.test)


def test_the_same_seed_gives_the_same_split_and_another_seed_another_one():
    assert make_split(rows(480), None, 5) == make_split(rows(480), None, 5)
    one, other = make_split(rows(480), None, 5), make_split(rows(480), None, 6)
    assert one.fingerprint != other.fingerprint
    assert set(one.test) != set(other.test)


def test_the_order_of_validation_is_random_and_not_that_of_the_file():
    order = [int(id_[1:]) for id_ in make_split(rows(1000), None, 0).validation]
    assert order != sorted(order)
    assert abs(sum(order[:100]) / 100 - 500) < 120


def test_under_150_rows_there_is_no_test_part():
    assert make_split(rows(149), None, 0).test == ()
    assert make_split(rows(150), None, 0).test != ()


LABELS = st.one_of(
    st.sampled_from("abcd"),
    st.lists(st.sampled_from("abcd"), max_size=3, unique=True).map(lambda one: tuple(sorted(one))),
)
ROW = st.tuples(LABELS, st.one_of(st.none(), st.integers(0, 40)), st.integers(0, 400))


@given(st.lists(ROW, min_size=20, max_size=330), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_whatever_the_groups_and_labels_the_parts_are_whole_and_apart(drawn, seed):
    examples = [
        Example(f"r{i}", {"text": f"text {text}"}, label, None if group is None else f"g{group}")
        for i, (label, group, text) in enumerate(drawn)
    ]
    try:
        split = make_split(examples, None, seed)
    except DataError:
        assume(False)
    by_id = {row.id: row for row in examples}
    for fold in split.folds:
        parts = [set(split.test), set(fold.train), set(fold.dev), set(fold.validation)]
        assert sum(map(len, parts)) == len(examples)
        for key in (lambda row: row.group, lambda row: row.inputs["text"]):
            homes = [{key(by_id[id_]) for id_ in part} - {None} for part in parts]
            assert sum(map(len, homes)) == len(set().union(*homes))
    assert sorted(id_ for fold in split.folds for id_ in fold.validation) == sorted(split.validation)
