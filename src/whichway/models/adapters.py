"""What is trained beside frozen weights: LoRA, DoRA, IA3 or a prompt, on which layers, over weights in 16 or in 4 bits."""

from __future__ import annotations

import importlib.util
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from whichway.errors import NotApplicable, UsageError
from whichway.models import fused, hardware, packed, virtual

RATES = {"lora": 5e-4, "dora": 5e-4, "ia3": 1e-2, "prompt": 1e-2}  # usual learning rates
USUAL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
LAYERS = {"usual": USUAL, "attention": USUAL[:4]}
SCALED = ["k_proj", "v_proj", "down_proj"]  # by IA3 (Liu et al. 2022): keys, values, and what enters the last of an MLP


def add_adapter(network: Any, plan: Mapping[str, Any], seed: int) -> Any:
    """Return the network with a fresh adapter, in fp32; plain LoRA computes in fewer passes."""
    from peft import IA3Config, LoraConfig

    if plan["adapter"] == "prompt":
        return virtual.begin(network, plan["rank"], seed)
    if plan["adapter"] == "ia3":
        found = _present(network, SCALED)
        inner = [name for name in found if name == "down_proj"] if isinstance(found, list) else []
        config: Any = IA3Config(target_modules=found, feedforward_modules=inner, task_type="CAUSAL_LM")
        return _adapted(network, config)
    config = LoraConfig(
        r=plan["rank"],
        lora_alpha=plan["alpha"],
        lora_dropout=0.0,
        target_modules=_layers(network, plan["layers"]),
        use_dora=plan["adapter"] == "dora",
        task_type="CAUSAL_LM",
    )
    adapted = _adapted(network, config)
    fused.fuse(adapted)
    return adapted


def _adapted(network: Any, config: Any) -> Any:
    """Return the network with peft's adapter; raises NotApplicable where peft knows no layer of it to put one on."""
    from peft import get_peft_model

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="fan_in_fan_out")  # said of GPT-2, whose weights lie the other way
        try:
            return get_peft_model(network, config)
        except ValueError as error:
            kind, what = type(network).__name__, str(error).splitlines()[0]
            fix = "Train learned vectors (`adapter: prompt`) or all weights (`method: full`), or take another model."
            raise NotApplicable(f"{kind} cannot be given a {config.peft_type.value} adapter: {what}", fix) from error


def save_adapter(network: Any, where: str, folder: Path) -> None:
    """Write an adapter, or all weights, as peft or transformers do; `where` names the base model."""
    if virtual.tokens(network):
        virtual.save(network, where, folder)
    else:
        network.save_pretrained(folder, safe_serialization=True)


def load_adapter(network: Any, folder: Path) -> Any:
    """Return the network with a saved adapter: merged into its weights, or as tokens that every prompt begins with."""
    from peft import PeftModel

    if json.loads((folder / virtual.CONFIG).read_text(encoding="utf-8"))["peft_type"] == "PROMPT_TUNING":
        return virtual.load(network, folder)
    return PeftModel.from_pretrained(network, str(folder), local_files_only=True).merge_and_unload()


def network_to_train(where: str, plan: Mapping[str, Any]) -> Any:
    """Return a fresh copy of the weights, ready to be trained, with rows packed where the network allows it.

    Raises UsageError where `bits` is 4 and there is no GPU or no bitsandbytes.
    """
    from whichway.models.causal import load_network

    full = plan["method"] == "full"
    # full: fp32 master weights, or small steps round to nothing
    network = _in_four_bits(where) if plan["bits"] == 4 else load_network(where, exact=full)[0]
    packed.install(network)
    network.train()
    return network


def _in_four_bits(where: str) -> Any:
    """Return weights in 4 bits (QLoRA, Dettmers et al. 2023); the adapter is used with weights in 16 bits later."""
    if hardware.device().type != "cuda" or importlib.util.find_spec("bitsandbytes") is None:
        what = "no bitsandbytes" if hardware.device().type == "cuda" else "no CUDA GPU"
        fix = "Leave `bits` out, or run where there is a CUDA GPU: pip install bitsandbytes."
        raise UsageError(f"`bits: 4` needs a CUDA GPU and the package bitsandbytes; there is {what}.", fix)
    import torch
    from peft import prepare_model_for_kbit_training
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    small = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.bfloat16,
        bnb_4bit_use_double_quant=True,
    )
    network = AutoModelForCausalLM.from_pretrained(
        where, quantization_config=small, device_map={"": 0}, use_safetensors=True, trust_remote_code=False
    )
    return prepare_model_for_kbit_training(network, use_gradient_checkpointing=False)


def _layers(network: Any, which: str) -> Any:
    """Return where low-rank weights are put: by Llama's names where all of those are there, else by where layers lie."""
    import torch
    from transformers.pytorch_utils import Conv1D

    names = [name for name, one in network.named_modules() if isinstance(one, torch.nn.Linear | Conv1D)]
    if which != "all" and set(LAYERS[which]) <= {name.rsplit(".", 1)[-1] for name in names}:
        return LAYERS[which]
    attending = [name for name in names if "attn" in name or "attention" in name]
    return attending if which == "attention" and attending else "all-linear"


def _present(network: Any, wanted: list[str]) -> Any:
    """Return the wanted layers where the model has them, else all of its linear layers."""
    names = {name.rsplit(".", 1)[-1] for name, _ in network.named_modules()}
    return [name for name in wanted if name in names] or "all-linear"
