"""Sentence encoders: texts to unit vectors, by sentence-transformers, in bf16 where that is fast."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from whichway.errors import MissingExtra, UsageError
from whichway.models import embedded, hardware, pace
from whichway.registry import register

BATCH_TOKENS = (1536, 65_536)  # of one batch, on two cores and on a GPU; see pace.py
CHARACTERS_PER_TOKEN = 4


@register("model", "encoder")
class SentenceEncoder:
    """Any sentence-transformers folder or hub id; 'embedded' is all-MiniLM-L6-v2.

    `embed` returns float32 [n, width] of unit length. Folders are read as safetensors only, without remote code.
    """

    is_local = True

    def __init__(self, name: str = "embedded", exact: bool = False) -> None:
        self.name = "all-MiniLM-L6-v2" if name == "embedded" else str(name)
        self.where = str(embedded.encoder_folder()) if name == "embedded" else str(name)
        self.network = load_network(self.where, exact)

    def embed(self, texts: Sequence[str]) -> Any:
        """Return one unit vector per text, float32 [n, width]."""
        return encode(self.network, texts)

    def weight_bytes(self) -> int:
        """Return the size of the weights in memory."""
        return sum(one.numel() * one.element_size() for one in self.network.parameters())

    def tune(
        self, texts: Sequence[str], labels: Sequence[Sequence[int]], settings: Any, folder: Path, kit: Any
    ) -> None:
        """Fine-tune a copy on label numbers per text and save it to `folder`; see models/contrastive.py."""
        from whichway.models.contrastive import tune

        tune(self.where, texts, labels, settings, folder, kit)

    def tuned(self, folder: Path) -> SentenceEncoder:
        """Return the encoder that `tune` saved."""
        return SentenceEncoder(str(folder))


def encode(network: Any, texts: Sequence[str]) -> Any:
    """Return unit vectors of a loaded network, float32 [n, width], in batches of similar length."""
    import numpy as np

    found = np.zeros((len(texts), network.get_embedding_dimension()), dtype=np.float32)
    config = getattr(getattr(network[0], "auto_model", None), "config", None)
    for batch in _batches(texts, network.max_seq_length or 512, pace.scaled(BATCH_TOKENS, config)):
        vectors = network.encode(
            [texts[i] for i in batch],
            batch_size=len(batch),
            convert_to_tensor=True,
            normalize_embeddings=True,
            show_progress_bar=False,
        )
        found[batch] = vectors.float().cpu().numpy()
    return found


def _batches(texts: Sequence[str], longest: int, most: int) -> list[list[int]]:
    """Cut text numbers, sorted by length, into batches whose padded size keeps the bound."""
    batches: list[list[int]] = []
    for i in sorted(range(len(texts)), key=lambda i: (len(texts[i]), i)):
        size = min(longest, len(texts[i]) // CHARACTERS_PER_TOKEN + 2)
        if not batches or (len(batches[-1]) + 1) * size > most:
            batches.append([])
        batches[-1].append(i)
    return batches


def load_network(where: str, exact: bool = False) -> Any:
    """Load a SentenceTransformer from a folder or a hub id; `exact` keeps fp32 (for training)."""
    try:
        import torch

        hardware.quiet()
        from sentence_transformers import SentenceTransformer
    except ImportError as missing:
        raise MissingExtra(str(missing.name), "local", "A sentence encoder") from missing
    try:
        network = SentenceTransformer(
            where,
            device=str(hardware.device()),
            trust_remote_code=False,
            local_files_only=Path(where).exists(),
            model_kwargs={"dtype": torch.float32 if exact else hardware.dtype(), "use_safetensors": True},
        )
    except (OSError, ValueError) as error:
        raise UsageError(
            f"The sentence encoder {where!r} cannot be loaded: {str(error).splitlines()[0]}",
            "Give a folder in sentence-transformers format (safetensors), a hub id, or 'embedded'.",
        ) from error
    network.eval()
    return network
