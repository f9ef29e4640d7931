"""Where the parts of a causal network are, whatever its family calls them."""

from __future__ import annotations

from typing import Any

LIMITS = ("max_position_embeddings", "max_seq_len", "seq_length")
LONGEST = 2048  # tokens, where a family names no limit


def body(network: Any) -> Any:
    """Return the network below its vocabulary head: tokens in, hidden states after the last norm out."""
    return network.base_model


def head(network: Any) -> Any:
    """Return the layer that turns hidden states into logits."""
    return network.get_output_embeddings()


def config(network: Any) -> Any:
    """Return the settings of the part that reads text."""
    return network.config.get_text_config(decoder=True)


def limit(network: Any) -> int:
    """Return how many tokens the network reads at most."""
    found = (getattr(config(network), name, None) for name in LIMITS)
    return int(next((one for one in found if one), LONGEST))
