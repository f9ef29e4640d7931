"""G1: which of two right-or-wrong strategies is better: an e-process that may be looked at after every row."""

# Under the null hypothesis that j does not beat i, each row on which just one of the two is right favours j with
# probability at most one half, whatever came before. The mixture over the wins' share (Beta(a, a), a = 1/2, cut to above one
# half) is then a supermartingale of mean 1: Ville's inequality bounds the chance that it ever passes 1/alpha (methods.md §2).

from __future__ import annotations

import math
from collections.abc import Sequence

ALPHA = 0.05
MOST_ARMS = 16
HALF = 0.5


def log_evidence(wins: int, losses: int) -> float:
    """Return the logarithm of the e-value that j is better than i, from rows that j alone or i alone has right."""
    from scipy.special import betainc, betaln

    total = wins + losses
    if not total:
        return 0.0
    above = float(
        betainc(HALF + losses, HALF + wins, 0.5)
    )  # = 1 - I_1/2(a + wins, a + losses), exact where it is small
    if above <= 0.0:
        return -math.inf
    mixed = float(betaln(HALF + wins, HALF + losses) - betaln(HALF, HALF))
    return math.log(above) + mixed - math.log(0.5) + total * math.log(2)


def paired_wins(better: Sequence[float], worse: Sequence[float]) -> tuple[int, int]:
    """Return on how many shared rows the first, and the second, of two right-or-wrong strategies alone is right."""
    shared = list(zip(better, worse, strict=False))
    return sum(a > b for a, b in shared), sum(a < b for a, b in shared)


def threshold(arms: int = MOST_ARMS, alpha: float = ALPHA) -> float:
    """Return the logarithm that evidence must reach, so that the best of `arms` is dropped with probability alpha at most."""
    return math.log(max(1, arms - 1) / alpha)
