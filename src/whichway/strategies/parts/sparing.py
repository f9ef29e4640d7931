"""How much of the unlikely labels a reader can do without: their likelihood is estimated by how their tokens usually go on."""

# A label that its first tokens leave far below the best is not read to its end (models/branches.py). A bound in its place, as
# if the rest were certain, takes too much from the best one's probability (AUROC .83 -> .78 on banking77); an estimate does
# not: of all labelled rows together, the share of the probability of what was read that goes on to the label's end.

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Times the heat that a label may lie below the best and still be read whole.
CLOSE = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)
MOVED, ROWS = 0.01, 48  # that estimates may move a confidence by, on average over so many labelled rows; of fewer, less
SPARES = 0.2  # of labels' tokens that at least go unread: less is not worth several passes
LITTLE, GOES_ON = 1e-4, 0.3  # of a label's mean first share, counted beside what was seen; and how much of it goes on


@dataclass(frozen=True)
class Sparing:
    """What a reader does without: labels more than `close` times its heat below the best are estimated.

    `usual` holds for each label and each of its tokens the log of the share of probability that goes on with it.
    """

    close: float
    usual: tuple[tuple[float, ...], ...]


def sparing_from(kept: Mapping[str, Any] | None) -> Sparing | None:
    """Return what `dataclasses.asdict` made plain data of, or None."""
    return None if kept is None else Sparing(kept["close"], tuple(map(tuple, kept["usual"])))


def learn_sparing(reader: Any, steps: Any) -> Sparing | None:
    """Return the most that a reader may leave out with the same answers to labelled rows, and nearly the same confidences.

    `steps` are log-probabilities [rows, labels, tokens], NaN behind a label's end; each row is estimated by the others. None:
    all has to be read. Of several labels at once none is estimated that may belong to the answer.
    """
    import numpy as np

    lengths = (~np.isnan(steps)).any(0).sum(1)
    if np.isnan(steps[:, :, 0]).any() or lengths.max(initial=0) < 2:
        return None
    sums = np.nan_to_num(steps).cumsum(2)
    largest = sums[:, :, 0].max()  # taken off, so that shares can be told however unlikely all labels are
    shares, each = np.exp(sums - largest), np.exp(-largest)
    every = shares.sum(0)
    whole = reader.read(sums[:, :, -1])
    left_out = _rests(_usual(np.maximum(0.0, every - shares), lengths, each * (len(steps) - 1)))
    least = -math.log(reader.share) if reader.multi else 0.0
    most = MOVED * min(1.0, len(steps) / ROWS)
    for close in (one for one in CLOSE if one >= least):
        estimated, unread = spared(sums, lengths, left_out, reader.bias, close * reader.heat)
        if unread < SPARES:
            return None
        known = reader.read(estimated)
        moved = [abs(one.confidence - other.confidence) for one, other in zip(known, whole, strict=True)]
        same = all(one.value == other.value for one, other in zip(known, whole, strict=True))
        if same and sum(moved) <= most * len(moved):
            usual = _usual(every[None], lengths, each * len(steps))[0]
            return Sparing(close, tuple(tuple(said[:n]) for said, n in zip(usual.tolist(), lengths, strict=True)))
    return None


def spared(sums: Any, lengths: Any, rests: Any, bias: Sequence[float], nats: float) -> tuple[Any, float]:
    """Return log-likelihoods [rows, labels] as they are where labels `nats` below the best, less their bias, are not read on.

    Beside them: the share of tokens, of those behind a label's first, that are not read then. `sums` [rows, labels, tokens] are
    log-likelihoods of each label's beginnings, `rests` estimates of what follows each.
    """
    import numpy as np

    totals, taken = sums[:, :, -1], np.array(bias)
    least = (totals - taken).max(1) - nats
    is_open = np.arange(sums.shape[2]) < lengths[:, None] - 1
    stops = (sums - taken[:, None] < least[:, None, None]) & is_open
    at = stops.argmax(2)[:, :, None]
    found = np.take_along_axis(sums + rests, at, 2)[:, :, 0]
    left = np.where(stops.any(2), lengths - 1 - at[:, :, 0], 0).sum() / max(1, len(sums) * (lengths - 1).sum())
    return np.where(stops.any(2), found, totals), float(left)


def _usual(shares: Any, lengths: Any, start: float) -> Any:
    """Return the log of the share that goes on with each token [n, labels, tokens], 0 behind a label's end.

    `shares` tell how likely each token and all before it are over all rows, `start` how likely a prompt's end is.
    """
    import numpy as np

    little = LITTLE * shares[:, :, :1].mean(1, keepdims=True) + 1e-300
    before = np.concatenate([np.full_like(shares[:, :, :1], start), shares[:, :, :-1]], 2)
    found = np.log((shares + GOES_ON * little) / (before + little))
    return np.where(np.arange(shares.shape[2]) < lengths[:, None], found, 0.0)


def _rests(usual: Any) -> Any:
    """Return the log of the share that goes on to the label's end behind each token, [n, labels, tokens]."""
    import numpy as np

    return np.concatenate([usual[:, :, :0:-1].cumsum(2)[:, :, ::-1], np.zeros_like(usual[:, :, :1])], 2)
