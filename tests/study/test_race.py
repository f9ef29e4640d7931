"""The race finds what is worth having at a part of the cost, and never spends what it does not have."""

import numpy as np
import pytest

from whichway.study.beliefs import DIFFICULTY, Arm, Averaged, learnt_beliefs, plain_beliefs
from whichway.study.race import gradient, halving, leader


class Simulated:
    """Arms with known chances of being right; opening and reading cost what is said."""

    def __init__(self, arms, chances, budget, rows=128, seed=0):
        self.arms, self.rows, self.budget, self.spent = arms, rows, budget, 0.0
        self.table = (np.random.default_rng(seed).random((len(arms), rows)) < np.array(chances)[:, None]).astype(float)
        self.seen = [0] * len(arms)

    def left(self):
        return self.budget - self.spent

    def cost(self, arm, upto):
        one = self.arms[arm]
        return (0.0 if self.seen[arm] else one.fit_s) + max(0, upto - self.seen[arm]) * one.row_s

    def read(self, arm, upto):
        self.spent += self.cost(arm, upto)
        assert self.spent <= self.budget
        self.seen[arm] = max(self.seen[arm], upto)
        return True

    def scores(self, arm):
        return self.table[arm, : self.seen[arm]]


READY = tuple(Arm(f"prompt-{i}", f"prompt-{i}", 100, 0.0, 1.0) for i in range(8))
CHANCES = (0.2, 0.3, 0.9, 0.4, 0.5, 0.3, 0.6, 0.4)


@pytest.mark.parametrize("allocation", [halving, lambda arena: gradient(arena, plain_beliefs(arena.arms))])
def test_the_best_of_eight_is_found_at_half_of_the_cost(allocation):
    found = []
    for seed in range(10):
        arena = Simulated(READY, CHANCES, budget=8 * 64, seed=seed)
        found.append(allocation(arena))
    assert found.count(2) >= 9


@pytest.mark.parametrize("allocation", [halving, lambda arena: gradient(arena, plain_beliefs(arena.arms))])
def test_nothing_is_chosen_where_nothing_can_be_paid(allocation):
    assert allocation(Simulated(READY, CHANCES, budget=1.0)) is None


LINE = tuple(Arm(f"tune@{25 * 2**i}", "tune", 25 * 2**i, 5.0 * 2**i, 0.05, i, 4) for i in range(4))
BLOOMER = (*READY[:3], *LINE)


def test_a_late_bloomer_outlives_its_weak_beginning():
    chances = (0.5, 0.55, 0.6, 0.3, 0.45, 0.7, 0.95)
    kept = [halving(Simulated(BLOOMER, chances, 500, seed=i)) for i in range(10)]
    dropped = [halving(Simulated(BLOOMER, chances, 500, seed=i), late_bloomers=False) for i in range(10)]
    assert kept.count(6) >= 8
    assert kept.count(6) >= dropped.count(6)


def test_a_dear_action_must_be_worth_its_time():
    arms = (Arm("cheap", "cheap", 100, 0.0, 0.01), Arm("dear", "dear", 100, 1000.0, 0.01))
    eager, patient = (Simulated(arms, (0.8, 0.85), 5000) for _ in range(2))
    gradient(eager, plain_beliefs(arms))
    gradient(patient, plain_beliefs(arms), second=0.01)
    assert eager.seen[1] and not patient.seen[1]


def test_beliefs_from_other_data_sets_take_out_how_hard_each_was():
    table = np.array([[0.9, 0.5], [0.5, 0.1], [0.7, 0.3], [0.8, 0.4]])
    arms = (Arm("a", "a", 1, 0.0, 1.0), Arm("b", "b", 1, 0.0, 1.0), Arm("new", "new", 1, 0.0, 1.0))
    beliefs = learnt_beliefs(arms, table, [("a", 0), ("b", 0)])
    assert beliefs.mean[0] - beliefs.mean[1] == pytest.approx(0.4, abs=1e-6)
    assert beliefs.covariance[0, 0] == pytest.approx(DIFFICULTY**2, rel=1e-3)  # the data sets differ in nothing else
    arena = Simulated(arms, (0.3, 0.0, 0.0), 1000)
    arena.read(0, 128)
    mean, spread = beliefs.after(arena)
    assert mean[1] < 0.15 < mean[0]  # where a is weak, b is weaker
    assert spread[0] < spread[2]
    assert leader(arena, beliefs) == 0


def test_beliefs_from_elsewhere_give_way_where_this_task_is_unlike_those():
    table = np.array([[0.9, 0.5], [0.5, 0.1], [0.7, 0.3], [0.8, 0.4]])  # everywhere a is .4 above b
    arms = (Arm("a", "a", 1, 0.0, 1.0), Arm("b", "b", 1, 0.0, 1.0))
    parts = (learnt_beliefs(arms, table, [("a", 0), ("b", 0)]), plain_beliefs(arms))
    alike, unlike = Simulated(arms, (0.8, 0.4), 1000), Simulated(arms, (0.4, 0.8), 1000)
    for arena in (alike, unlike):
        assert Averaged(parts).credibility(arena) == pytest.approx([0.5, 0.5])
        for arm in (0, 1):
            arena.read(arm, 128)
    assert Averaged(parts).credibility(alike)[0] > 0.9
    assert Averaged(parts).credibility(unlike)[0] < 0.1
    mean, spread = Averaged(parts).after(unlike)
    assert mean == pytest.approx(parts[1].after(unlike)[0], abs=0.03)
    mixed, covariance = Averaged((parts[0], parts[1])).jointly_after(Simulated(arms, (0.4, 0.8), 1000))
    between = (parts[0].mean - parts[1].mean) / 2
    assert mixed == pytest.approx((parts[0].mean + parts[1].mean) / 2)
    assert covariance == pytest.approx((parts[0].covariance + parts[1].covariance) / 2 + between[:, None] * between)
