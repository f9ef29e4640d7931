"""Tiny networks of many families, randomly initialised, in a folder beside the embedded model's tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers

from whichway.models import embedded

LAYERS = {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 4}
LLAMA = {**LAYERS, "intermediate_size": 64, "num_key_value_heads": 2}
FAMILIES: dict[str, dict[str, Any]] = {
    "GPT2": {"n_layer": 2, "n_embd": 32, "n_head": 4, "n_positions": 256},
    "GPTNeoX": {**LAYERS, "intermediate_size": 64},
    "Bloom": {"n_layer": 2, "hidden_size": 32, "n_head": 4},
    "Falcon": {**LAYERS, "alibi": True},
    "Mpt": {"n_layers": 2, "d_model": 32, "n_heads": 4, "max_seq_len": 256},
    "GPTJ": {"n_layer": 2, "n_embd": 32, "n_head": 4, "rotary_dim": 8},
    "OPT": {**LAYERS, "ffn_dim": 64, "word_embed_proj_dim": 32},
    "Phi3": LLAMA,
}


def network(family: str, **more: Any) -> Any:
    """Return a network of a family in fp32 whose every part has a say: weights are drawn ten times wider than usual."""
    torch.manual_seed(0)
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(embedded.causal_folder()))
    ends = {name: tokenizer.eos_token_id for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    settings = {"vocab_size": len(tokenizer), "initializer_range": 0.2, **ends, **FAMILIES.get(family, LLAMA), **more}
    config = getattr(transformers, f"{family}Config")(**settings)
    return transformers.AutoModelForCausalLM.from_config(config).float().eval()


def folder(family: str, where: Path, **more: Any) -> str:
    """Write such a network and the tokenizer; return the folder."""
    network(family, **more).save_pretrained(where)
    transformers.AutoTokenizer.from_pretrained(str(embedded.causal_folder())).save_pretrained(where)
    return str(where)


def likelihood(plain: Any, prompt: list[int], label: list[int]) -> float:
    """Return what transformers' own forward says of a label after a prompt."""
    with torch.inference_mode():
        logits = plain(torch.tensor([[*prompt, *label]])).logits[0].float().log_softmax(-1)
    return sum(float(logits[len(prompt) - 1 + i, token]) for i, token in enumerate(label))
