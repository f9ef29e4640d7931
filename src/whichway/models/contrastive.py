"""Fine-tuning a sentence encoder on labels: contrastively when they are few, by a cosine classifier else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from whichway.core.strategy import Kit, Progress
from whichway.errors import BudgetReached
from whichway.models import hardware
from whichway.models.encoder import load_network

DEFAULTS = {"loss": "auto", "rate": 5e-5, "temperature": 0.1, "visits": 0, "longest": 128}
FEW_PER_LABEL = 30  # rows per label up to which pairs teach more than a classifier
LARGEST_BATCH = 160
BATCH = 32
PIECE = 16  # rows read at a time: short ones are not padded to the longest of the batch
WARM_STEPS = 10
CLASSIFIER_RATE = 20  # the label vectors may move this many times faster than the encoder


def tune(
    where: str,
    texts: Sequence[str],
    labels: Sequence[Sequence[int]],
    settings: Mapping[str, Any],
    folder: Path,
    kit: Kit,
) -> None:
    """Train a copy of the encoder at `where` and save it to `folder` as a sentence-transformers folder.

    `labels` lists label numbers per text; `kit` gives seed, budget and progress. Losses: supervised contrastive
    (Khosla et al. 2020), rows sharing a label are positives; or cross-entropy over cosines to one trained vector per
    label. Raises BudgetReached at the deadline.
    """
    import torch

    plan = {**DEFAULTS, **settings}
    network = load_network(where, exact=True)
    network.max_seq_length = min(int(plan["longest"]), network.max_seq_length or 512)
    torch.manual_seed(kit.seed)
    batches = _Batches(labels, _loss_name(plan, labels), int(plan["visits"]), kit.seed)
    loss = _contrastive if batches.loss == "contrastive" else _Classifier(network, texts, labels)
    _run(network, texts, batches, loss, plan, kit)
    network.eval()
    network.save(str(folder), safe_serialization=True, create_model_card=False)


def _loss_name(plan: Mapping[str, Any], labels: Sequence[Sequence[int]]) -> str:
    if plan["loss"] != "auto":
        return str(plan["loss"])
    present = {label for row in labels for label in row}
    return "contrastive" if len(labels) < FEW_PER_LABEL * len(present) else "classifier"


class _Batches:
    """Row numbers by step: for contrast, some rows of each of many labels; for a classifier, all rows in random order."""

    def __init__(self, labels: Sequence[Sequence[int]], loss: str, visits: int, seed: int) -> None:
        import numpy as np

        self.labels, self.loss = labels, loss
        self.rng = np.random.default_rng(seed)
        self.rows_of: dict[int, list[int]] = {}
        for row, own in enumerate(labels):
            for label in own:
                self.rows_of.setdefault(label, []).append(row)
        self.per_label = max(2, min(4, LARGEST_BATCH // (2 * max(1, len(self.rows_of)))))
        self.size = min(LARGEST_BATCH, self.per_label * len(self.rows_of)) if loss == "contrastive" else BATCH
        wanted = visits or (min(max(6 * len(labels), 1600), 6000) if loss == "contrastive" else 3 * len(labels))
        self.steps = max(20, wanted // self.size)

    def __iter__(self) -> Any:
        import numpy as np

        order: list[int] = []
        for _ in range(self.steps):
            if self.loss == "contrastive":
                names = self.rng.permutation(sorted(self.rows_of))[: self.size // self.per_label]
                rows = [
                    self.rng.choice(self.rows_of[n], self.per_label, len(self.rows_of[n]) < self.per_label)
                    for n in names
                ]
                yield np.unique(np.concatenate(rows)).tolist()
                continue
            if len(order) < self.size:
                order += self.rng.permutation(len(self.labels)).tolist()
            yield order[: self.size]
            order = order[self.size :]


def _run(network: Any, texts: Sequence[str], batches: _Batches, loss: Any, plan: Any, kit: Kit) -> None:
    import torch

    groups = [{"params": list(network.parameters()), "lr": plan["rate"], "weight_decay": 0.01}]
    if isinstance(loss, _Classifier):
        groups.append({"params": [loss.vectors], "lr": plan["rate"] * CLASSIFIER_RATE, "weight_decay": 0.0})
    optimiser = torch.optim.AdamW(groups, fused=True)
    slope = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min((step + 1) / WARM_STEPS, max(0.0, (batches.steps - step) / batches.steps))
    )
    device, fast = hardware.device(), hardware.dtype() == torch.bfloat16
    network.train()
    for step, rows in enumerate(batches):
        if kit.budget.remaining_s() <= 0:
            raise BudgetReached("The time budget ended before the encoder was trained.")
        rows = sorted(rows, key=lambda i: len(texts[i]))
        parts = [[texts[i] for i in rows[start : start + PIECE]] for start in range(0, len(rows), PIECE)]
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=fast):
            vectors = torch.cat([_vectors(network, part, device) for part in parts])
        unit = torch.nn.functional.normalize(vectors.float(), dim=1)
        value = loss(unit, [batches.labels[i] for i in rows], plan["temperature"])
        optimiser.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        slope.step()
        kit.progress(Progress("training", step + 1, batches.steps))


def _vectors(network: Any, texts: Sequence[str], device: Any) -> Any:
    features = {name: one.to(device) for name, one in network.preprocess(list(texts)).items() if hasattr(one, "to")}
    return network(features)["sentence_embedding"]


def _contrastive(unit: Any, labels: Sequence[Sequence[int]], temperature: float) -> Any:
    """Return the supervised contrastive loss: every row with a shared label against all other rows of the batch."""
    import torch

    members = torch.zeros(len(labels), max(label for row in labels for label in row) + 1, device=unit.device)
    for i, row in enumerate(labels):
        members[i, list(row)] = 1.0
    itself = torch.eye(len(labels), dtype=torch.bool, device=unit.device)
    together = ((members @ members.T) > 0) & ~itself
    near = (unit @ unit.T / temperature).masked_fill(itself, -1e9)
    sure = near - torch.logsumexp(near, dim=1, keepdim=True)
    count = together.sum(1)
    return (-(sure * together).sum(1) / count.clamp(min=1))[count > 0].mean()


class _Classifier:
    """Cross-entropy over cosines to one vector per label, which begins at the mean of the label's texts."""

    def __init__(self, network: Any, texts: Sequence[str], labels: Sequence[Sequence[int]]) -> None:
        import torch

        from whichway.models.encoder import encode

        vectors = encode(network, texts)
        size = max(label for row in labels for label in row) + 1
        start = torch.zeros(size, vectors.shape[1])
        for vector, row in zip(torch.from_numpy(vectors), labels, strict=True):
            for label in row:
                start[label] += vector
        start = torch.nn.functional.normalize(start + 1e-6, dim=1)
        self.vectors = torch.nn.Parameter(start.to(hardware.device()))

    def __call__(self, unit: Any, labels: Sequence[Sequence[int]], temperature: float) -> Any:
        import torch

        wanted = torch.zeros(len(labels), len(self.vectors), device=unit.device)
        for i, row in enumerate(labels):
            if row:
                wanted[i, list(row)] = 1.0 / len(row)
        cosines = unit @ torch.nn.functional.normalize(self.vectors, dim=1).T
        return torch.nn.functional.cross_entropy(cosines / temperature, wanted)
