"""What a race believes about its arms before and after it has read: Gaussian, from nothing, from other data sets, or both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

GROWTH = 0.06  # what a doubling of the labels may bring where nothing is known yet, and how unsure that is
TRUST = 4.0  # arms read that beliefs from elsewhere count for, when this task turns out unlike those
DIFFICULTY = 0.3  # spread of scores between tasks, of all arms alike


@dataclass(frozen=True)
class Arm:
    """A deployable thing: one line at one of its rungs. Costs are estimates in seconds, of paid calls also in US dollars."""

    name: str
    line: str
    labels: int
    fit_s: float
    row_s: float
    rung: int = 0
    rungs: int = 1
    fit_usd: float = 0.0
    row_usd: float = 0.0


class Arena(Protocol):
    """What a race is run on; scores are between 0 and 1, rows stand in one shared order."""

    arms: Sequence[Arm]
    rows: int

    def left(self) -> float:
        """Return what may still be spent, in seconds."""

    def cost(self, arm: int, upto: int) -> float:
        """Estimate the seconds of having an arm's first `upto` rows answered, or what is as scarce as so many seconds."""

    def read(self, arm: int, upto: int) -> bool:
        """Have them answered; False where that could not be done within the budget."""

    def scores(self, arm: int) -> Any:
        """Return the scores read so far, in order."""


class Belief(Protocol):
    """Beliefs of any kind."""

    def after(self, arena: Arena) -> tuple[Any, Any]:
        """Return mean and standard deviation of every arm's score, given all that was read."""

    def jointly_after(self, arena: Arena) -> tuple[Any, Any]:
        """Return mean [arms] and covariance [arms, arms] of the scores, given all that was read."""


@dataclass(frozen=True)
class Beliefs:
    """Gaussian beliefs about the arms' scores before anything is read: mean [arms], covariance [arms, arms]."""

    mean: Any
    covariance: Any

    def after(self, arena: Arena) -> tuple[Any, Any]:
        """Return mean and standard deviation of every arm's score, given all that was read."""
        import numpy as np

        mean, covariance = self.jointly_after(arena)
        return mean, np.sqrt(np.maximum(np.diag(covariance), 1e-8))

    def jointly_after(self, arena: Arena) -> tuple[Any, Any]:
        """Return mean [arms] and covariance [arms, arms] of the scores, given all that was read."""
        import numpy as np

        read, off, expected = self._seen(arena)
        if not read:
            return self.mean, self.covariance
        across = self.covariance[:, read]
        mean = self.mean + across @ np.linalg.solve(expected, off)
        surprise = float(off @ np.linalg.solve(expected, off))
        wider = max(1.0, (TRUST + surprise) / (TRUST + len(read)))  # an odd task: what was believed counts for less
        return mean, wider * (self.covariance - across @ np.linalg.solve(expected, across.T))

    def log_evidence(self, arena: Arena) -> float:
        """Return the logarithm of how likely what was read is under these beliefs, up to a constant of the arena."""
        import numpy as np

        read, off, expected = self._seen(arena)
        if not read:
            return 0.0
        return float(-0.5 * np.linalg.slogdet(expected)[1] - 0.5 * off @ np.linalg.solve(expected, off))

    def _seen(self, arena: Arena) -> tuple[list[int], Any, Any]:
        """Return the arms read, how far their means are off what was believed, and the covariance of that."""
        import numpy as np

        read = [i for i in range(len(arena.arms)) if len(arena.scores(i))]
        if not read:
            return [], None, None
        seen = np.array([arena.scores(i).mean() for i in read])
        noise = np.array([noise_of(seen[k], len(arena.scores(i)), arena.rows) for k, i in enumerate(read)])
        return read, seen - self.mean[read], self.covariance[np.ix_(read, read)] + np.diag(noise)


@dataclass(frozen=True)
class Averaged:
    """Several beliefs, each as credible as what was read is likely under it (Bayesian model averaging, Hoeting et al. 1999)."""

    parts: tuple[Beliefs, ...]

    def after(self, arena: Arena) -> tuple[Any, Any]:
        """Return mean and standard deviation of every arm's score; see Belief."""
        import numpy as np

        mean, covariance = self.jointly_after(arena)
        return mean, np.sqrt(np.maximum(np.diag(covariance), 1e-8))

    def jointly_after(self, arena: Arena) -> tuple[Any, Any]:
        """Return mean and covariance of the mixture; see Belief."""
        shares = self.credibility(arena)
        found = [one.jointly_after(arena) for one in self.parts]
        middle = sum(share * mean for share, (mean, _) in zip(shares, found, strict=True))
        spread = sum(
            share * (covariance + (mean - middle)[:, None] * (mean - middle))
            for share, (mean, covariance) in zip(shares, found, strict=True)
        )
        return middle, spread

    def credibility(self, arena: Arena) -> Any:
        """Return the posterior probability of each of the beliefs, all alike beforehand."""
        import numpy as np

        logs = np.array([one.log_evidence(arena) for one in self.parts])
        shares = np.exp(logs - logs.max())
        return shares / shares.sum()


def plain_beliefs(arms: Sequence[Arm]) -> Beliefs:
    """Return beliefs that know nothing but that tasks differ, rungs of a line go together, and more labels help."""
    import numpy as np

    lines = np.array([one.line for one in arms])
    missing = np.array([one.rungs - 1 - one.rung for one in arms])
    together = (lines[:, None] == lines[None]) * 0.1**2
    apart = np.diag(0.05**2 + (GROWTH * missing) ** 2 / 2)
    return Beliefs(0.6 - GROWTH * missing, DIFFICULTY**2 + together + apart)


def learnt_beliefs(arms: Sequence[Arm], table: Any, names: Sequence[tuple[str, int]]) -> Beliefs:
    """Return beliefs from other data sets: table [data sets, arms known] of scores (NaN: not measured), by (line, rung).

    Each data set's own level is taken out; what is left has a mean per arm and a covariance, shrunk towards that of
    `plain_beliefs` as data sets are few. Arms that no other data set has are believed in plainly.
    """
    import numpy as np

    plain = plain_beliefs(arms)
    place = {name: i for i, name in enumerate(names)}
    known = [i for i, one in enumerate(arms) if (one.line, one.rung) in place]
    if not known or len(table) < 3:
        return plain
    some = table[:, [place[arms[i].line, arms[i].rung] for i in known]]
    level = np.nanmean(some, axis=1, keepdims=True)
    rest = some - level
    mean = np.nanmean(rest, axis=0)
    rest = np.where(np.isnan(rest), mean, rest) - mean
    sample = rest.T @ rest / max(1, len(rest) - 1)
    own = plain.covariance[np.ix_(known, known)] - DIFFICULTY**2
    covariance, centre = plain.covariance.copy(), plain.mean.copy()
    covariance[np.ix_(known, known)] = DIFFICULTY**2 + 0.6 * sample + 0.4 * own * np.trace(sample) / np.trace(own)
    centre[known] = float(np.nanmean(level)) + mean
    return Beliefs(centre, covariance)


def noise_of(mean: float, read: int, rows: int) -> float:
    """Return the variance of a mean of scores between 0 and 1; never nothing, as further rows are like these."""
    share = min(max(mean, 0.02), 0.98)
    return share * (1 - share) / max(1, read)
