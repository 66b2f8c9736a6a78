"""A `config.json` of the original project, in this one's names: its file is nested, and some of its fields have no part here.

`in_present_names` is the one place that knows the original's fields. Every field of its file is translated, or must have
the one value that is built here (ONLY), or has no effect here (WITHOUT_EFFECT says why); any other field is unknown.
"""
from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from exp_config.checking import ConfigError

# The original's name (or an old one of ours) -> the present one; the value stays as it is.
RENAMED = {
    "name": "exp_name", "wandb_project_name": "project_name", "output_dir": "checkpoint_dir", "num_epochs": "epochs",
    "augument_rate": "augment_rate", "HVR_T": "hvr_t", "HVR_C": "hvr_c", "HVR_N_supervision": "hvr_n_supervision",
    "HVR_N_supervision_inference_factor": "hvr_n_sup_factor",
    "coco_train_dir": "coco_train_images", "coco_train_annotation_file_path": "coco_train_annotations",
    "coco_val_dir": "coco_val_images", "coco_val_annotation_file_path": "coco_val_annotations",
    "train_image_ids": "coco_train_ids", "validation_image_ids": "coco_val_ids",
}

# Fields that change nothing here, and why.
WITHOUT_EFFECT = {
    "project_path": "the project is the folder that the scripts lie in",
    "device": "--device, and accelerate's options",
    "info": "a note", "debug": "a switch of the original's own messages",
    "progress_bar": "shown where there is a terminal", "tqdm_length": "as wide as the terminal",
    "logging": "WANDB_DISABLED and WANDB_MODE", "wandb_id": "wandb_id.txt in the run folder",
    "config_path": "the command line's", "config_name": "the command line's", "resume_from_checkpoint": "the command line's",
    "checkpoint": "checkpoints are always written",
    "start_epoch": "in the checkpoint itself", "completed_steps": "in the checkpoint itself",
    "best_val_loss": "in the checkpoint itself",
    "dataloader_prefetch_factor": "torch's own; the photos and their order do not depend on it",
    "sample_width": "sample pictures are those of the benchmarks", "sample_height": "as sample_width",
    "sample_num": "as sample_width", "num_sample_batch": "as sample_width", "save_train_samples": "as sample_width",
    "test_image_ids": "there is no third split of COCO: the benchmarks are the test",
    "eval_batch_scale_factor": "benchmark pictures are enhanced one by one",
}

# Fields of the training that are no settings here: they have this value.
ONLY = {
    "normalize_max": False, "exposure_loss_patch_size": 16, "blur": True, "fill_noise": True, "noise_rate": 0.1,
    "image_mask": {"black_percentage": 10.0, "min_size": 1, "max_size": 2, "p": 0.1}, "pre_trained": False,
    "sampling_train_dataset": 1.0,
}
ADVICE = {"pre_trained": " (train.py --init_weights FILE starts from weights)",
          "sampling_train_dataset": " (max_train_photos takes fewer)"}

NORMAL = {"mean": 0.0, "std": 1.0, "a": -1.0, "b": 1.0}  # of z_distribution: the one that is built here
CURVE = ("alpha", "k", "l")
PRECISION = 3                                            # decimals of a curve's parameters


def in_present_names(values: Mapping[str, Any], fields: Collection[str]) -> tuple[dict[str, Any], list[str]]:
    """Settings by present names, and in words what a training cannot do as the file asks (weights can be used all the same).

    values: of this project's form, of the original's or of both. fields: the present names; a field of such a name is taken
    as it is but for the originals' nested values (`z_distribution`, `eval_dataset`, `image_preprocessing_schedule`).
    Names that are none of these stay, for the caller to refuse. Raises ConfigError for what no use of the file can do:
    another network, another distribution of the latents, a group with unknown members, a setting that stands there twice.
    """
    settings: dict[str, Any] = {}
    origin: dict[str, str] = {}
    refused: list[str] = []
    for name, value in values.items():
        if name in ONLY and name not in fields:
            refused += _other_values(name, value, ONLY[name])
            continue
        if name in WITHOUT_EFFECT and name not in fields:
            continue
        for present, translated in _translate(name, value, fields, refused).items():
            if present in settings and settings[present] != translated:
                raise ConfigError(f"{origin[present]} and {name} are one setting, {present}, with two values; keep one of them")
            settings[present], origin[present] = translated, name
    return settings, refused


def fields_without_effect(values: Iterable[str], fields: Collection[str]) -> list[str]:
    """Those of the names that WITHOUT_EFFECT lists."""
    return [name for name in values if name in WITHOUT_EFFECT and name not in fields]


def _translate(name: str, value: Any, fields: Collection[str], refused: list[str]) -> dict[str, Any]:
    """One field as present ones."""
    if name in SAME_NAME and isinstance(value, dict):
        return {name: SAME_NAME[name](value)}
    if name in fields:
        return {name: value}
    if name == "image_preprocessing_config":
        return _curve(name, value, refused)
    if name in GROUPS:
        return GROUPS[name](value)
    return {RENAMED.get(name, name): value}


def _other_values(name: str, value: Any, only: Any) -> list[str]:
    """A refusal for each value that is not the one built here; the members of a group are looked at one by one."""
    if isinstance(only, dict):
        group = _members(name, value, only)
        return [line for member in group for line in _other_values(f"{name}.{member}", group[member], only[member])]
    same = value == only and isinstance(value, bool) == isinstance(only, bool)
    return [] if same else [f"{name} = {value!r}, and only {only!r} is built here{ADVICE.get(name, '')}"]


def _members(name: str, value: Any, known: Collection[str]) -> dict[str, Any]:
    """The members of a group; ConfigError where it is none or has unknown ones."""
    if not isinstance(value, dict):
        raise ConfigError(f"{name} = {value!r}; expected a group of {', '.join(known)}")
    unknown = [member for member in value if member not in known]
    if unknown:
        raise ConfigError(f"{name} has unknown members: {', '.join(map(str, unknown))}; expected {', '.join(known)}")
    return value


def _light_unet(value: Any) -> dict[str, Any]:
    names = {"init_features": "unet_init_features", "num_groups": "unet_num_groups"}
    return {names[member]: setting for member, setting in _members("LightUnetPP", value, names).items()}


def _swin2sr(value: Any) -> dict[str, Any]:
    names = {member: f"swin_{member}" for member in ("depths", "num_heads", "window_size", "mlp_ratio")}
    only = {"drop_rate": 0.0, "attn_drop_rate": 0.0, "drop_path_rate": 0.0, "resi_connection": "1conv"}
    group = _members("Swin2SR", value, [*names, *only])
    for member in only:
        for line in _other_values(f"Swin2SR.{member}", group.get(member, only[member]), only[member]):
            raise ConfigError(line)
    return {names[member]: setting for member, setting in group.items() if member in names}


def _latents(value: dict[str, Any]) -> str:
    group = _members("z_distribution", value, [*NORMAL, "zeros"])
    if group.get("zeros") is True:
        return "zeros"
    if all(group.get(member, wanted) == wanted for member, wanted in NORMAL.items()) and group.get("zeros", False) is False:
        return "normal"
    raise ConfigError(f"z_distribution = {json.dumps(value)}; expected zeros: true, or mean 0, std 1, a -1, b 1: latents of "
                      "other distributions are not built here")


def _range(name: str, value: Any, refused: list[str]) -> list[Any]:
    """{min_val, max_val, mean, precision} -> [min, max]."""
    group = _members(name, value, ("min_val", "max_val", "mean", "precision"))
    if not {"min_val", "max_val"} <= group.keys():
        raise ConfigError(f"{name} = {json.dumps(value)}; expected min_val and max_val")
    for member, wanted in (("mean", 0.0), ("precision", PRECISION)):
        refused += _other_values(f"{name}.{member}", group.get(member, wanted), wanted)
    return [group["min_val"], group["max_val"]]


def _curve(name: str, value: Any, refused: list[str]) -> dict[str, Any]:
    group = _members(name, value, CURVE)
    return {f"{parameter}_range": _range(f"{name}.{parameter}", limits, refused) for parameter, limits in group.items()}


def _schedule(value: dict[str, Any]) -> dict[str, Any]:
    """The present form; its start and end may spell their ranges as the original does."""
    name = "image_preprocessing_schedule"
    schedule = dict(value)
    for end in ("start", "end"):
        if isinstance(value.get(end), dict):
            refused: list[str] = []
            schedule[end] = {parameter: _range(f"{name}.{end}.{parameter}", limits, refused) if isinstance(limits, dict)
                             else limits for parameter, limits in value[end].items()}
            if refused:
                raise ConfigError("; ".join(refused))
    return schedule


def _eval_dataset(value: dict[str, Any]) -> dict[str, Any]:
    """{input_dir, target_dir, width, height} -> {low, high}. The original resizes pictures to that size before it enhances
    and scores them; here they are scored at their own size, which for the sets of its file is the same."""
    sets = {}
    for name, entry in value.items():
        if isinstance(entry, dict) and "input_dir" in entry:
            _members(f"eval_dataset.{name}", entry, ("input_dir", "target_dir", "width", "height"))
            high = {} if entry.get("target_dir") is None else {"high": entry["target_dir"]}
            entry = {"low": entry["input_dir"], **high}
        sets[name] = entry
    return sets


GROUPS: dict[str, Callable[[Any], dict[str, Any]]] = {"LightUnetPP": _light_unet, "Swin2SR": _swin2sr}
# Groups of the original that bear a present field's name.
SAME_NAME: dict[str, Callable[[dict[str, Any]], Any]] = {
    "z_distribution": _latents, "eval_dataset": _eval_dataset, "image_preprocessing_schedule": _schedule}
