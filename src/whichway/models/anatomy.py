"""Where the parts of a causal network are, whatever its family calls them."""

from __future__ import annotations

from typing import Any

LIMITS = ("max_position_embeddings", "max_seq_len", "seq_length")
WINDOWS = ("sliding_window", "attention_chunk_size")
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


def window(network: Any) -> int:
    """Return how many tokens a text may have for every layer to see all of it from each of them: at most `limit`.

    Layers with a sliding window or chunks (Gemma, Mistral-7B-v0.1, Phi-3, Llama 4) see fewer tokens than the network reads.
    """
    found, whole = config(network), limit(network)
    kinds = getattr(found, "layer_types", None)
    if kinds and not any("sliding" in kind or "chunked" in kind for kind in kinds):
        return whole
    sizes = (getattr(found, name, None) for name in WINDOWS)
    return min([whole, *(int(one) for one in sizes if one)])


def token_bytes(network: Any) -> int:
    """Return the size of one token's keys and values in all layers."""
    found = config(network)
    width = getattr(found, "head_dim", None) or found.hidden_size // found.num_attention_heads
    heads = getattr(found, "num_key_value_heads", None) or found.num_attention_heads
    return int(2 * found.num_hidden_layers * heads * width * network.dtype.itemsize)


def layers(network: Any) -> int:
    """Return how many layers the network has."""
    return int(config(network).num_hidden_layers)
