"""Checks of labelled rows: duplicates, leaks, labels, balance."""

from __future__ import annotations

import random
import time
from itertools import pairwise

from whichway.core.output import Labels
from whichway.core.task import Example
from whichway.intake.checks import check, leaks
from whichway.intake.near import near_pairs

AB = Labels(("a", "b"))


def rows(*pairs: tuple[str, object], start: str = "r") -> list[Example]:
    return [Example(f"{start}{i}", {"text": text}, target) for i, (text, target) in enumerate(pairs)]


def clean(count: int, seed: int = 0, words: int = 12, prefix: str = "c") -> list[Example]:
    """Rows of random words: none resembles another."""
    pick = random.Random(seed)
    return [
        Example(f"{prefix}{i}", {"text": " ".join(f"w{pick.randrange(3000)}" for _ in range(words))}, "ab"[i % 2])
        for i in range(count)
    ]


def codes(found: list[object]) -> set[str]:
    return {getattr(one, "code") for one in found}  # noqa: B009


def test_clean_rows_give_no_finding() -> None:
    assert check(clean(200), clean(100, seed=1, prefix="t"), AB) == []


def test_exact_and_normalised_duplicates_are_told_apart_and_named() -> None:
    found = check(
        [*clean(20), *rows(("Same text here", "a"), ("Same text here", "a"), ("same TEXT, here!", "a"))], None, AB
    )
    by_code = {one.code: one.rows for one in found}
    assert by_code == {"duplicate": ("r1",), "duplicate-normalised": ("r2",)}


def test_signs_without_words_are_no_duplicates_of_one_another() -> None:
    assert "duplicate-normalised" not in codes(
        check([*clean(20), *rows(("!", "a"), ("?", "b"), ("👍", "a"))], None, AB)
    )


def test_equal_inputs_with_different_labels_are_a_conflict() -> None:
    found = check([*clean(20), *rows(("one text", "a"), ("One text.", "b"))], None, AB)
    assert next(one for one in found if one.code == "conflicting-labels").rows == ("r0", "r1")


def test_each_kind_of_leak_is_found_with_its_test_row() -> None:
    test = rows(
        ("monday my new card was charged twice for the same order in the shop", "a"),
        ("where is my parcel", "b"),
        ("Straße № 5", "a"),
        start="t",
    )
    train = rows(
        ("sunday my new card was charged twice for the same order in the shop", "a"),
        ("where is my parcel", "b"),
        ("WHERE  is my parcel?", "b"),
        ("strasse no 5", "a"),
        ("where is my letter", "b"),
    )
    assert leaks(train, test) == {
        "r0": ("near", "t0"),
        "r1": ("exact", "t1"),
        "r2": ("normalised", "t1"),
        "r3": ("normalised", "t2"),
    }


def test_near_leaks_are_found_at_95_percent_with_under_1_percent_false_alarms() -> None:
    train = clean(1000, words=20)
    pick = random.Random(3)
    copies = []
    for i, one in enumerate(train[:300]):
        words = str(one.inputs["text"]).split()
        words[pick.choice((0, len(words) - 1))] = "other"
        copies.append(Example(f"t{i}", {"text": " ".join(words).upper() + "!"}, "a"))
    found = leaks(train, copies)
    assert len([row for row in found if row in {one.id for one in train[:300]}]) >= 0.95 * 300
    assert len(found) <= 300 + 0.01 * 700


def test_the_fast_search_for_near_rows_finds_what_comparing_all_pairs_finds() -> None:
    pick = random.Random(11)
    base = [[f"w{pick.randrange(60)}" for _ in range(pick.randrange(5, 30))] for _ in range(25)]

    def varied(count: int) -> list[Example]:
        made = []
        for i in range(count):
            words = [*pick.choice(base)]
            for _ in range(pick.randrange(4)):
                words[pick.randrange(len(words))] = f"w{pick.randrange(60)}"
            made.append(Example(str(i), {"text": " ".join(words)}, "a"))
        return made

    left, right = varied(300), varied(200)
    near = [{j for j, two in enumerate(right) if similarity(one, two) >= 0.8} for one in left]
    found = dict(near_pairs(left, right))
    assert set(found) == {i for i, some in enumerate(near) if some} and 30 < len(found) < 270
    assert all(found[i] == min(near[i]) for i in found)


def similarity(one: Example, two: Example) -> float:
    """Jaccard of words and word pairs, computed the plain way."""
    sets = []
    for row in (one, two):
        words = str(row.inputs["text"]).split()
        sets.append({*words, *pairwise(words)})
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def test_10000_rows_against_3000_take_less_than_10_seconds_even_when_they_are_alike() -> None:
    pick = random.Random(5)
    forms = [[f"w{pick.randrange(400)}" for _ in range(14)] for _ in range(60)]

    def alike(count: int, prefix: str) -> list[Example]:
        made = []
        for i in range(count):
            words = [*forms[i % 60]]
            for _ in range(4):
                words[pick.randrange(14)] = str(pick.randrange(10_000))
            made.append(Example(f"{prefix}{i}", {"text": " ".join(words)}, "ab"[i % 2]))
        return made

    train, test = alike(10_000, "r"), alike(3_000, "t")
    begun = time.monotonic()
    check(train, test, AB)
    assert time.monotonic() - begun < 10


def test_a_rare_label_one_edit_from_a_common_one_looks_like_a_typo() -> None:
    many = [Example(f"x{i}", {"text": f"text {i} {i * i}"}, ("refund", "orders")[i % 2]) for i in range(40)]
    for odd in ("refnud", "refunds", "refun"):
        found = check([*many, *rows(("zz", odd))], None, Labels(("refund", "orders", odd)))
        assert "label-typo" in codes(found), odd


def test_labels_that_are_meant_to_differ_are_no_typos() -> None:
    names = ("level_1", "level_2", "level_10", "able", "cable", "billing", "filling")
    many = [Example(f"x{i}", {"text": f"text {i} {i * i}"}, names[i % 7]) for i in range(500)]
    assert not codes(check(many, None, Labels(names))) & {"label-typo", "label-variants"}


def test_the_label_within_its_own_inputs_is_noticed_and_a_common_word_is_not() -> None:
    given = [
        Example(f"x{i}", {"text": f"number {i} spam" if i % 2 else f"number {i}"}, ("ham", "spam")[i % 2])
        for i in range(40)
    ]
    assert "label-in-input" in codes(check(given, None, Labels(("ham", "spam"))))
    common = [Example(f"x{i}", {"text": f"my card {i}"}, ("card", "loan")[i % 2]) for i in range(40)]
    assert "label-in-input" not in codes(check(common, None, Labels(("card", "loan"))))


def test_groups_on_both_sides_are_noticed() -> None:
    train = [Example("1", {"text": "one of these"}, "a", group="g"), *clean(20)]
    test = [Example("2", {"text": "quite another"}, "a", group="g")]
    assert next(one for one in check(train, test, AB) if one.code == "group-in-test").rows == ("1",)


def test_constant_inputs_rare_labels_and_labels_without_rows_are_noticed() -> None:
    many = [Example(f"x{i}", {"text": f"t {i}", "k": 1}, "rare" if i < 3 else "b") for i in range(100)]
    found = codes(check(many, None, Labels(("b", "rare", "never"))))
    assert found >= {"constant-input", "rare-label", "label-without-rows", "imbalance"}


def test_several_labels_are_checked_one_by_one() -> None:
    many = [Example(f"x{i}", {"text": f"t {i}"}, ("a", "b") if i % 2 else ()) for i in range(40)]
    found = check([*many, *rows(("zz", ("a", "b | c")))], None, Labels(("a", "b", "b | c"), multi=True))
    assert codes(found) == {"rare-label", "label-with-separator"}


def test_no_rows_at_all_raise_nothing() -> None:
    check([], [], AB)
    check([], None, AB)
