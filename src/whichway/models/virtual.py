"""Prompt tuning (Lester et al. 2021): learned vectors before every prompt, as tokens beyond the vocabulary."""

# peft puts such vectors before embedded, padded batches, which neither packed training nor prompts that share their
# beginnings can do. As tokens of their own they pass through both like any other, and the head never writes one. What is
# saved is peft's format.

from __future__ import annotations

from pathlib import Path
from typing import Any

from whichway.models import anatomy

CONFIG, WEIGHTS, KEY = "adapter_config.json", "adapter_model.safetensors", "prompt_embeddings"


def begin(network: Any, count: int, seed: int) -> Any:
    """Freeze a network and give it `count` vectors to train, which begin as those of words drawn from the vocabulary."""
    import torch

    network.requires_grad_(False)
    table = network.get_input_embeddings().weight
    drawn = torch.randint(0, len(table), (count,), generator=torch.Generator().manual_seed(seed))
    return _install(network, table[drawn.to(table.device)].detach().float(), True)


def tokens(network: Any) -> list[int]:
    """Return the virtual tokens of a network, which every prompt begins with; none where it has no vectors."""
    table = network.get_input_embeddings()
    vectors = getattr(table, "vectors", None)
    return [] if vectors is None else [table.num_embeddings + i for i in range(len(vectors))]


def save(network: Any, where: str, folder: Path) -> None:
    """Write the vectors as peft's PromptTuning does; `where` names the base model."""
    from peft import PromptTuningConfig
    from safetensors.torch import save_file

    vectors = network.get_input_embeddings().vectors.detach().cpu().contiguous()
    settings = anatomy.config(network)
    config = PromptTuningConfig(
        task_type="CAUSAL_LM",
        num_virtual_tokens=len(vectors),
        token_dim=vectors.shape[1],
        num_transformer_submodules=1,
        num_attention_heads=settings.num_attention_heads,
        num_layers=settings.num_hidden_layers,
        base_model_name_or_path=where,
        inference_mode=True,
    )
    config.save_pretrained(str(folder))
    save_file({KEY: vectors}, folder / WEIGHTS)


def load(network: Any, folder: Path) -> Any:
    """Give a network the vectors that `save`, or peft, wrote."""
    from safetensors.torch import load_file

    return _install(network, load_file(folder / WEIGHTS)[KEY].float(), False)


def _install(network: Any, vectors: Any, is_trained: bool) -> Any:
    """Let token `vocabulary + i` stand for row i of vectors [count, width]; return the network."""
    import torch

    words = network.get_input_embeddings()

    class WithVirtual(torch.nn.Module):  # type: ignore[misc]
        """The embedding of words, and of the virtual tokens after them."""

        def __init__(self) -> None:
            super().__init__()
            self.words = words
            if is_trained:
                self.vectors = torch.nn.Parameter(vectors.clone())
            else:  # a parameter would be the first of the network, and its 32 bits would count as the network's
                self.register_buffer("vectors", vectors, persistent=False)
            self.num_embeddings, self.embedding_dim = words.num_embeddings, words.embedding_dim

        @property
        def weight(self) -> Any:
            return self.words.weight

        def forward(self, ids: Any) -> Any:
            own = ids - self.num_embeddings
            said = self.words(ids.clamp(max=self.num_embeddings - 1))
            return torch.where((own >= 0)[..., None], self.vectors[own.clamp(min=0)].to(said.dtype), said)

    network.set_input_embeddings(WithVirtual().to(words.weight.device))
    return network
