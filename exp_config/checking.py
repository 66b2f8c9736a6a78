"""Type and range checks of a dataclass of settings, and its JSON form."""
from __future__ import annotations

import dataclasses
import difflib
import json
import math
import os
import shlex
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from exp_config.wrong_file import what_it_is_instead

T = TypeVar("T")

CURVE_LIMITS = {"alpha": 0.999, "k": 0.999, "l": 1.0}  # of the darkening curve's parameters


class ConfigError(ValueError):
    """A configuration that cannot be used; the message says what was found, what is expected and what exists."""


def build(cls: type[T], values: Mapping[str, Any], source: str) -> T:
    """`cls(**values)` with an error that names unknown fields and the nearest known ones."""
    unknown = unknown_fields(cls, values)
    if unknown:
        raise ConfigError(f"{source}: unknown field {', '.join(unknown.values())}; the fields are: "
                          f"{', '.join(sorted(field_names(cls)))}")
    try:
        return cls(**values)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None


def unknown_fields(cls: type, values: Mapping[str, Any]) -> dict[str, str]:
    """The keys of `values` that are no fields of `cls`, each in words with the nearest field."""
    names = field_names(cls)
    nearest = {key: difflib.get_close_matches(key, names, n=1) for key in values if key not in names}
    return {key: f"{key!r}" + "".join(f" (did you mean {name!r}?)" for name in near) for key, near in nearest.items()}


def field_names(cls: type) -> list[str]:
    """Names of a dataclass's fields."""
    return [f.name for f in dataclasses.fields(cls)]


def read_json(path: str | Path) -> dict[str, Any]:
    """The object in a JSON file."""
    path = Path(path)
    try:
        values = json.loads(path.read_text(encoding="utf-8-sig"))  # with a byte order mark or without
    except FileNotFoundError:
        raise ConfigError(f"no config file {path}; give the config.json that lies beside the weights") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ConfigError(f"{path} is not a readable JSON file{what_it_is_instead(path)}: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds a JSON {type(values).__name__}; expected an object of settings")
    return values


def write_json(config: Any, path: str | Path) -> None:
    """Write the dataclass as JSON through a temporary file, so that no half-written file is ever left."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(dataclasses.asdict(config), indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def check_fields(config: Any) -> None:
    """Check every field's type, then its range. Whole numbers are accepted (and converted) where a float is asked."""
    hints = typing.get_type_hints(type(config))
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        try:
            setattr(config, f.name, _convert(value, hints[f.name]))
        except TypeError:
            raise ConfigError(f"{f.name} = {value!r} is a {type(value).__name__}; expected {_spell(hints[f.name])}"
                              f"{_json_example(f.name, value, hints[f.name])}") from None
    _check_ranges(config)


def _convert(value: Any, hint: Any) -> Any:
    """`value` as `hint` asks for it; TypeError where it is something else."""
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin is Literal:
        if value in args and type(value) in {type(a) for a in args}:
            return value
        raise TypeError
    if origin in (Union, types.UnionType):
        for option in args:
            try:
                return _convert(value, option)
            except TypeError:
                continue
        raise TypeError
    if origin is list:
        if not isinstance(value, (list, tuple)):
            raise TypeError
        return [_convert(v, args[0]) for v in value]
    if origin is dict:
        if not isinstance(value, dict) or not all(isinstance(k, str) for k in value):
            raise TypeError
        return {k: _convert(v, args[1]) for k, v in value.items()}
    if hint is type(None):
        if value is None:
            return None
        raise TypeError
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, hint) and not (isinstance(value, bool) and hint is not bool):
        return value
    raise TypeError


def _spell(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(repr(a) for a in get_args(hint))
    return str(hint).replace("<class '", "").replace("'>", "")


def _json_example(name: str, value: Any, hint: Any) -> str:
    """How the command line spells a list or a dictionary, for a text that came from there; else nothing."""
    if not isinstance(value, str):
        return ""
    examples = {"list[str]": json.dumps([value], ensure_ascii=False), "list[int]": "[1, 2]", "list[float]": "[0.0, 0.5]",
                "dict[str, float]": '{"mae": 1.0}'}
    return next((f", on the command line as JSON: --set {shlex.quote(f'{name}={example}')}"
                 for kind, example in examples.items() if kind in str(hint)), "")


def _check_ranges(c: Any) -> None:
    """Ranges that a type cannot say."""
    def need(name: str, ok: bool, expected: str) -> None:
        if not ok:
            raise ConfigError(f"{name} = {getattr(c, name)!r}; expected {expected}")

    for f in dataclasses.fields(c):
        value = getattr(c, f.name)
        numbers = value if isinstance(value, list) else [value]
        need(f.name, all(math.isfinite(v) for v in numbers if isinstance(v, float)),
             "finite numbers" if isinstance(value, list) else "a finite number")
    for name in ("z_dims", "embed_dims", "unet_init_features", "unet_num_groups", "height", "width", "epochs", "batch_size",
                 "gradient_accumulation_steps", "lr_cosine_cycles", "save_every", "log_every"):
        need(name, getattr(c, name) >= 1, "at least 1")
    for name in ("hvr_t", "hvr_c", "hvr_n_supervision", "hvr_n_progressive", "num_workers", "save_every_steps",
                 "learning_rate_min", "inference_border", "inference_megapixels", "max_grad_norm", "hvr_n_sup_factor",
                 "change_weight"):
        need(name, getattr(c, name) >= 0, "0 or more")
    for name in ("max_train_photos", "max_val_photos", "eval_max_images"):
        value = getattr(c, name)
        need(name, value is None or value >= 1, "at least 1, or null for all")
    for name in ("geometry_rate", "augment_rate", "sensor_noise_rate", "sensor_jpeg_rate", "uneven_light_rate",
                 "uneven_colour_spread", "cast_gain_spread", "cast_black_spread",
                 "lr_cosine_warmup_rate", "exposure_mean", "inference_light_order", "inference_white_balance",
                 "inference_detail"):
        need(name, 0 <= getattr(c, name) <= 1, "a number in [0, 1]")
    for name in ("project_name", "exp_name"):  # parts of the run folder's name
        need(name, _is_file_name(getattr(c, name)), "a part of a folder's name: some printable characters, no / or \\")
    need("seed", 0 <= c.seed < 2**64, "a whole number from 0 to 2^64 - 1")
    need("learning_rate", c.learning_rate > 0, "more than 0")
    need("lr_scaling_factor", c.lr_scaling_factor > 0, "more than 0")
    need("change_weight", c.change_weight == 0 or c.hvr_n_supervision > 1 or c.hvr_n_progressive > 0,
         "0 where a photo is trained on for its first supervision step alone (hvr_n_supervision, hvr_n_progressive)")
    need("ema_decay", 0 <= c.ema_decay < 1, "a number in [0, 1)")
    need("unet_num_groups", c.unet_init_features % c.unet_num_groups == 0,
         f"a divisor of unet_init_features = {c.unet_init_features}")
    need("swin_window_size", c.swin_window_size >= 2, "at least 2")
    need("swin_mlp_ratio", c.swin_mlp_ratio > 0, "more than 0")
    need("swin_depths", len(c.swin_depths) == len(c.swin_num_heads) > 0 and min(c.swin_depths) >= 1,
         f"as many positive numbers as swin_num_heads = {c.swin_num_heads}, at least one")
    need("swin_num_heads", all(h >= 1 and c.z_dims % h == 0 for h in c.swin_num_heads), f"divisors of z_dims = {c.z_dims}")
    need("lr_cosine_cycles", c.lr_cosine_cycles <= c.epochs, f"at most epochs = {c.epochs}")
    need("loss_weight", all(w >= 0 and math.isfinite(w) for w in c.loss_weight.values()) and any(c.loss_weight.values()),
         "finite weights of 0 or more, one at least above 0")
    for name, upper in (*((f"{parameter}_range", upper) for parameter, upper in CURVE_LIMITS.items()),
                        ("sensor_shot_range", 1.0), ("sensor_read_range", 1.0), ("sensor_jpeg_range", 100),
                        ("normal_mean_range", 1.0), ("colour_kept_range", 1.0), ("uneven_l_range", 1.0),
                        ("uneven_gain_range", 1.0), ("uneven_glare_range", 1.0)):
        need(name, _is_range(getattr(c, name), upper), f"[min, max] with 0 <= min <= max <= {upper}")
    need("colour_gains", len(c.colour_gains) == 2 and min(c.colour_gains) > 0, "two numbers more than 0")
    need("reference_mean", len(c.reference_mean) == 2 and all(0 <= mean < 1 for mean in c.reference_mean),
         "two numbers in [0, 1): for nearly black inputs, for white ones")
    for name, folders in c.eval_dataset.items():
        need("eval_dataset", not {"", ".", ".."} & set(name.replace("\\", "/").split("/")),
             f"names of folders that lie below the results, found {name!r}")
        need("eval_dataset", set(folders) in ({"low"}, {"low", "high"}),
             f'for {name!r} {{"low": folder}} or {{"low": folder, "high": folder}}')
    _check_schedule(c)


def _is_file_name(text: str) -> bool:
    return bool(text.strip()) and text.isprintable() and not set(text) & set("/\\") and not text.startswith(".")


def _is_range(value: Any, upper: float) -> bool:
    """Whether it is [min, max] with 0 <= min <= max <= upper."""
    return (isinstance(value, (list, tuple)) and len(value) == 2 and all(isinstance(v, (int, float)) for v in value)
            and 0 <= value[0] <= value[1] <= upper)


def _check_schedule(c: Any) -> None:
    schedule = c.image_preprocessing_schedule
    if schedule is None:
        return
    ok = set(schedule) == {"type", "start", "end"} and schedule["type"] in ("linear", "sigmoid")
    for key in ("start", "end"):
        ranges = schedule.get(key)
        ok = ok and isinstance(ranges, dict) and ranges.keys() == CURVE_LIMITS.keys() and all(
            _is_range(ranges[parameter], upper) for parameter, upper in CURVE_LIMITS.items())
    if not ok:
        raise ConfigError(f"image_preprocessing_schedule = {schedule!r}; expected "
                          '{"type": "linear" or "sigmoid", "start": {"alpha": [min, max], "k": .., "l": ..}, "end": {..}} '
                          f"with 0 <= min <= max, at most {CURVE_LIMITS}")
