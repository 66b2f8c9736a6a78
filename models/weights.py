"""Weight files: load published ones and ours, save ours.

The published file (tests/golden/state_dict_manifest.json) repeats two layers under twin names and holds buffers that
follow from the settings; ours holds every parameter once, under its plain name.
"""
from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from exp_config import Config
from exp_config.wrong_file import what_it_is_instead
from models.hvr import HVR

WRAPPERS = re.compile(r"(?:(?<=^)|(?<=\.))(?:_orig_mod|module)\.")         # added by torch.compile and DDP
TWINS = re.compile(r"^(embed_layer|head_layer)\.layers\.0\.")               # published second name of `.embedding.`
DERIVED = ("attn_mask", "relative_coords_table", "relative_position_index")  # buffers computed from the settings


class WeightsError(ValueError):
    """A weight file that cannot be used; the message lists what is missing, unexpected or misshapen."""


def translate_keys(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Plain names for every key dialect: wrapper prefixes removed, twins merged, derived buffers dropped.

    Raises WeightsError where two names of one parameter hold different values.
    """
    plain: dict[str, Tensor] = {}
    for key, value in tensors.items():
        name = TWINS.sub(r"\1.embedding.", WRAPPERS.sub("", key))
        if name.rpartition(".")[2] in DERIVED:
            continue
        if name in plain and not torch.equal(plain[name], value):
            raise WeightsError(f"two different tensors in the file stand for {name} (one of them is {key})")
        plain[name] = value
    return plain


def load_state(model: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copy weights of any dialect into `model`: all of them, or WeightsError with a full list and nothing copied."""
    given = translate_keys(tensors)
    wanted = dict(model.named_parameters())
    problems = [f"missing: {name} {tuple(wanted[name].shape)}" for name in wanted if name not in given]
    problems += [f"unexpected: {name} {tuple(given[name].shape)}" for name in given if name not in wanted]
    for name, value in given.items():
        if name in wanted and value.shape != wanted[name].shape:
            problems.append(f"wrong shape: {name} is {tuple(value.shape)}, expected {tuple(wanted[name].shape)}")
        elif not value.is_floating_point():
            problems.append(f"wrong type: {name} is {value.dtype}, expected a floating-point type")
        elif not torch.isfinite(value).all():
            problems.append(f"not finite: {name} holds NaN or infinite values")
    if problems:
        raise WeightsError(f"{source} does not fit this network ({len(problems)} problems; nothing was loaded). Is it an HVR "
                           "file, and config.json the one it was trained with?\n  " + "\n  ".join(problems))
    with torch.no_grad():
        for name, parameter in wanted.items():
            parameter.copy_(given[name])


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file, on the CPU. Raises WeightsError saying what is wrong with the file."""
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"no weights file {path}; the shipped ones are checkpoint/zeros/HVR.safetensors and "
                           "checkpoint/HVR.safetensors, a training writes best_model/HVR.safetensors into its run folder")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a readable safetensors file{what_it_is_instead(path)}: {error}") from None


def load_pretrained(config_path: str | Path | Config, weights_path: str | Path, device: str | torch.device = "cpu") -> HVR:
    """The network of a config.json (or of the Config read from it) with the weights of a safetensors file, on `device`, in
    eval mode.

    Accepts files of this project and published ones (keys with `_orig_mod.` and `module.`, twin names, mask buffers).
    Raises exp_config.ConfigError or WeightsError saying what was found and what was expected.
    """
    config = config_path if isinstance(config_path, Config) else Config.from_checkpoint(config_path)
    model = HVR.from_config(config)
    load_state(model, read_weights(weights_path), str(weights_path))
    return model.to(device).eval().requires_grad_(False)


def save_weights(model: nn.Module, path: str | Path, config: Config) -> None:
    """Write the parameters (plain names, each once, float32) to `path` and the settings to config.json beside it.

    Both files are replaced atomically. `model` may be wrapped by DDP or torch.compile. Raises OSError, of a full disk too.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = translate_keys(dict(model.named_parameters()))
    tensors = {name: value.detach().to("cpu", torch.float32).contiguous() for name, value in plain.items()}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        save_file(tensors, temporary, metadata={"format": "pt"})
        os.replace(temporary, path)
    except SafetensorError as error:
        raise OSError(f"{path} cannot be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)
    config.to_json(path.with_name("config.json"))
