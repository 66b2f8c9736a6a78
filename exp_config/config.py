"""Every setting of a run: one dataclass, the published values as defaults, named experiments as differences.

Source of the defaults: HVR-SSLE (IEEE Access 14, 2026) and its published training run.
Paths are relative to the project folder unless absolute; `Config.path` resolves them.
"""
from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from exp_config.checking import ConfigError, build, check_fields, field_names, read_json, unknown_fields, write_json
from exp_config.places import expanded
from exp_config.published import WITHOUT_EFFECT, fields_without_effect, in_present_names

logger = logging.getLogger(__name__)

PROJECT_ROOT = Path(__file__).resolve().parent.parent

# What decides on the network's function, beside its weights; some change it without changing the shape of any weight.
NETWORK_FIELDS = ("z_dims", "embed_dims", "unet_init_features", "unet_num_groups", "swin_depths", "swin_num_heads",
                  "swin_window_size", "swin_mlp_ratio", "normalize_one_to_one")


def _eval_dataset() -> dict[str, dict[str, str]]:
    lolv2, lsrw = "dataset/LOL-v2", "dataset/LSRW/Eval"
    return {
        "LOLv1": {"low": "dataset/LOLv1/eval15/low", "high": "dataset/LOLv1/eval15/high"},
        "LOLv2_real": {"low": f"{lolv2}/Real_captured/Test/Low", "high": f"{lolv2}/Real_captured/Test/Normal"},
        "LOLv2_synthetic": {"low": f"{lolv2}/Synthetic/Test/Low", "high": f"{lolv2}/Synthetic/Test/Normal"},
        "LSRW_Huawei": {"low": f"{lsrw}/Huawei/low", "high": f"{lsrw}/Huawei/high"},
        "LSRW_Nikon": {"low": f"{lsrw}/Nikon/low", "high": f"{lsrw}/Nikon/high"},
        **{name: {"low": f"dataset/{name}"} for name in ("DICM", "LIME", "NPE", "MEF", "VV")},
    }


@dataclass
class Config:
    """Settings of one run. Unknown names and wrong types raise `ConfigError` listing what exists."""

    # --- run ---
    project_name: str = "HVR-SSLE"                  # first part of the run folder's name, and the wandb project
    exp_name: str = "default"                       # second part; the named experiment this configuration came from
    checkpoint_dir: str = "checkpoint"              # run folders are made here
    seed: int = 12345                               # decides every random number of a run

    # --- network (paper sec. III; the defaults give 353,763 parameters) ---
    z_dims: int = 24                                # channels of the latent maps zH and zL
    embed_dims: int = 24                            # channels of the embedded image x_e
    unet_init_features: int = 24                    # L: channels at full resolution (doubled at each level)
    unet_num_groups: int = 2                        # L: groups of every GroupNorm; no tensor's shape shows it
    swin_depths: list[int] = field(default_factory=lambda: [2, 2])     # H: blocks per layer
    swin_num_heads: list[int] = field(default_factory=lambda: [4, 4])  # H: attention heads per layer
    swin_window_size: int = 8                       # H: side of an attention window in pixels
    swin_mlp_ratio: float = 2.0                     # H: hidden width of a block's MLP over its channels
    hvr_t: int = 2                                  # T: L steps per H step
    hvr_c: int = 2                                  # C: H steps per supervision step
    hvr_n_supervision: int = 2                      # N: supervision steps, in training and in sampling
    hvr_n_progressive: int = 0                      # training: so many supervision steps at most go before those that are
    #                                                 trained, without training; how many is drawn for each batch
    hvr_n_sup_factor: float = 1.0                   # sampling runs max(int(factor * N), 1) supervision steps
    z_distribution: Literal["normal", "zeros"] = "normal"  # initial latents: normal(0, 1) cut to [-1, 1], or zeros
    inference_border: int = 0                       # mirrored pixels around a photo to be enhanced, cut off again
    inference_average: bool = False                 # a result is the mean of the pictures after all supervision steps;
    #                                                 false: published, the last one
    inference_light_order: float = 0.0              # how far what is equally light in a photo is so in its result, 0 to 1
    inference_white_balance: float = 0.0            # how much of the cast of what came out of the dark is taken off, 0 to 1
    inference_detail: float = 0.0                   # how much of a photo's own fine structure its result has, 0 to 1
    inference_megapixels: float = 0.0               # larger photos are shown to the network as copies of so many; 0: whole
    normalize_one_to_one: bool = True               # images in [-1, 1] (tanh head); false: [0, 1] (sigmoid head)

    # --- photos to learn from ---
    coco_train_images: str | None = "dataset/coco/train2017"                             # folder of training photos
    coco_train_annotations: str | None = "dataset/coco/annotations/instances_train2017.json"  # which photos; null: all
    coco_val_images: str | None = "dataset/coco/val2017"                                 # folder of validation photos
    coco_val_annotations: str | None = "dataset/coco/annotations/instances_val2017.json"   # which photos; null: all
    coco_train_ids: list[int] | None = None         # use only these of the annotation file's images; null: all
    coco_val_ids: list[int] | None = None           # use only these of the annotation file's images; null: all
    train_folders: list[str] = field(default_factory=list)  # further plain folders of training photos (nested)
    val_folders: list[str] = field(default_factory=list)    # further plain folders of validation photos (nested)
    max_train_photos: int | None = None             # use only the first so many training photos; null: all
    max_val_photos: int | None = None               # use only the first so many validation photos; null: all
    height: int = 224                               # height of a training crop in pixels
    width: int = 224                                # width of a training crop in pixels
    num_workers: int = 4                            # loader processes per training process

    # --- darkening and augmentation (paper sec. III-D) ---
    normal_mean_range: list[float] = field(default_factory=lambda: [0.0, 0.0])  # mean brightness to which normal photos are
    #                                                 exposed before they are darkened, of 1; 0: published, as they are
    reference_mean: list[float] = field(default_factory=lambda: [0.0, 0.0])  # mean brightness to which they are exposed as
    #                                                 references, of 1: for nearly black inputs, for white ones; 0: published
    alpha_range: list[float] = field(default_factory=lambda: [0.0, 0.3])   # of the curve's exponent, as alpha_distribution says
    alpha_distribution: Literal["uniform", "root"] = "uniform"  # uniform (published), or its fifth root uniform: mild curves
    #                                                             as often as strong ones
    k_range: list[float] = field(default_factory=lambda: [0.0, 0.4])       # black offset, half-normal near the minimum
    l_range: list[float] = field(default_factory=lambda: [0.0, 0.95])      # loss of light, as l_distribution says
    l_distribution: Literal["normal", "uniform", "stops"] = "normal"  # half-normal near the minimum (published), uniform, or
    #                                                 uniform in stops: as many photos for each halving of the light
    colour_kept_range: list[float] = field(default_factory=lambda: [0.0, 0.0])  # share of the photo's colour that the curve
    #                                                 leaves as it is, as less light would; 0: published, channel by channel
    cast_gain_spread: float = 0.0                   # colour cast of dark photos: spread of the logarithm of the gains of red
    #                                                 and blue where all light is lost; 0: published
    cast_black_spread: float = 0.0                  # and of the error of each channel's black level, in linear light
    image_preprocessing_schedule: dict[str, Any] | None = None  # {"type": "linear"|"sigmoid", "start": {"alpha": [a, b],
    #                                                             "k": .., "l": ..}, "end": {..}}; null: constant ranges
    geometry_rate: float = 0.4                      # share of photos that are rotated (up to 45 degrees) or flipped
    augment_rate: float = 0.1                       # share of inputs with blur, with spots, with mixing noise (each)
    sensor_noise_rate: float = 0.0                  # share of inputs with shot and read noise and JPEG; 0: published recipe
    sensor_noise_where: Literal["anywhere", "dark"] = "anywhere"  # dark: the more light an input has lost, the more often,
    #                                                 from 0 to sensor_noise_rate; well exposed photos are left as they are
    sensor_shot_range: list[float] = field(default_factory=lambda: [1e-4, 1e-2])  # shot noise variance per unit of light
    sensor_read_range: list[float] = field(default_factory=lambda: [1e-6, 1e-3])  # read noise variance
    sensor_jpeg_range: list[int] = field(default_factory=lambda: [60, 95])        # JPEG quality after the noise
    sensor_jpeg_rate: float = 1.0                   # share of the noisy inputs that become JPEG; the others stay as they are
    uneven_light_rate: float = 0.0                  # share of photos whose light varies over the picture; 0: published recipe
    uneven_l_range: list[float] = field(default_factory=lambda: [0.35, 0.95])     # their dark parts' loss of light
    uneven_gain_range: list[float] = field(default_factory=lambda: [0.93, 1.0])   # light that their bright parts keep
    uneven_colour_spread: float = 0.04              # how far the colours of their two lights lie from white, logarithm of the
    #                                                 gains of red and blue; 0: white
    uneven_glare_range: list[float] = field(default_factory=lambda: [0.0, 0.03])  # share of the light scattered by the lens

    # --- optimisation ---
    epochs: int = 300                               # passes over the training photos
    batch_size: int = 64                            # photos per process and micro-batch
    gradient_accumulation_steps: int = 1            # micro-batches per optimizer step
    colour_gains: list[float] = field(default_factory=lambda: [1.0, 1.0])  # at the start of a run, times the embedding's
    #                                                 answer to red-blue and green-magenta: faint colours are learned late
    optimizer: Literal["adamw", "muon"] = "adamw"   # muon: orthogonal steps for weight matrices, AdamW for the rest
    learning_rate: float = 5e-4                     # the optimizer's peak learning rate in the first cycle
    learning_rate_min: float = 1e-9                 # learning rate at the end of each cycle
    learning_rate_static: bool = False              # true: learning_rate throughout, no schedule
    lr_cosine_cycles: int = 2                       # cycles of equal length: linear warm-up, then cosine
    lr_cosine_warmup_rate: float = 0.05             # warm-up epochs of a cycle over all epochs
    lr_scaling_factor: float = 0.2                  # each cycle's peak over the one before
    # Norms of 2 to 7 are usual, so 1 acts on most steps; Adam undoes that: 0.628 with, 0.624 without after 90 batches.
    max_grad_norm: float = 1.0                      # gradients are scaled down to this L2 norm; 0: no clipping
    autocast_dtype: Literal["no", "fp16", "bf16"] = "bf16"  # mixed precision of training; no: float32
    compile: bool = False                           # torch.compile the training step (GPU)
    ema_decay: float = 0.0                          # decay per optimizer step of averaged weights; 0: no average

    # --- loss ---
    loss_weight: dict[str, float] = field(default_factory=lambda: {"mae": 1.0, "sat": 1.0, "lpips": 0.1})  # weight by name
    change_weight: float = 0.0                      # weight of what a supervision step after the first changes in the picture,
    #                                                 mean absolute difference; 0: published
    exposure_mean: float = 0.5                      # target of the losses exposure and exposure_l2
    lpips_required: bool = True                     # false: a training goes on without a loss lpips that cannot be had here

    # --- checkpoints, validation, evaluation, logging ---
    save_every: int = 10                            # epochs between evaluations on eval_dataset
    save_every_steps: int = 0                       # also save after every so many batches within an epoch; 0: never
    log_every: int = 10                             # batches between two log lines
    eval_dataset: dict[str, dict[str, str]] = field(default_factory=_eval_dataset)  # name -> {"low": dir[, "high": dir]}
    eval_max_images: int | None = None              # at most so many pictures of each benchmark while training; null: all

    EXPERIMENTS: ClassVar[dict[str, dict[str, Any]]] = {
        "default": {},
        # The published run: 8 processes of 64 photos, 300 epochs of COCO train2017.
        "base_model": {"epochs": 300, "batch_size": 64, "autocast_dtype": "bf16", "num_workers": 6},
        # A run that ends within minutes on 2 CPU cores.
        "short_test": {
            "epochs": 4, "batch_size": 8, "height": 64, "width": 64, "max_train_photos": 256, "max_val_photos": 32,
            "num_workers": 1, "autocast_dtype": "no", "learning_rate": 2e-3, "learning_rate_min": 1e-4,
            "lr_cosine_cycles": 1, "save_every": 4, "eval_max_images": 2, "lpips_required": False,
        },
        # Beyond the paper: physically motivated noise on half of the inputs.
        "realistic_noise": {"sensor_noise_rate": 0.5},
        # Beyond the paper: what measured best here on photos taken in the dark, see docs/experiments.md.
        "dark_photos": {
            "z_distribution": "zeros", "hvr_n_supervision": 2, "hvr_n_progressive": 1,
            "alpha_range": [1e-4, 0.05], "alpha_distribution": "root",
            "k_range": [0.0, 0.3], "l_range": [0.0, 0.965], "l_distribution": "stops", "augment_rate": 0.02,
            "reference_mean": [0.63, 0.24], "colour_kept_range": [0.5, 1.0], "sensor_noise_rate": 1.0,
            "sensor_noise_where": "dark", "sensor_shot_range": [2e-5, 4e-4],
            "sensor_read_range": [1e-8, 2e-6], "sensor_jpeg_range": [85, 98],
            "sensor_jpeg_rate": 0.3, "uneven_light_rate": 0.5, "uneven_l_range": [0.4, 0.98], "change_weight": 8.0,
            "optimizer": "muon", "learning_rate": 6e-4, "learning_rate_min": 1e-5, "lr_cosine_cycles": 1, "ema_decay": 0.99,
            "loss_weight": {"mae": 1.0, "sat": 1.0, "lpips": 0.15, "chroma": 2.0, "ssim": 1.0, "detail": 4.0,
                            "seams": 0.75},
        },
    }

    def __post_init__(self) -> None:
        check_fields(self)

    @classmethod
    def named(cls, exp_name: str = "default", **overrides: Any) -> Config:
        """The configuration of a named experiment; `overrides` replace single fields."""
        if exp_name not in cls.EXPERIMENTS:
            raise ConfigError(f"unknown experiment {exp_name!r}; {cls.__name__} has: {', '.join(sorted(cls.EXPERIMENTS))}")
        return cls.from_dict({**cls.EXPERIMENTS[exp_name], "exp_name": exp_name, **cls.translated_changes(overrides)})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], source: str = "configuration") -> Config:
        """Build from plain values, of this form or the original project's (`exp_config.published`)."""
        return build(cls, cls.translated(values, source), source)

    @classmethod
    def translated(cls, values: Mapping[str, Any], source: str = "configuration") -> dict[str, Any]:
        """Plain values by the present names. Raises ConfigError for settings of the original's that are not built here."""
        try:
            settings, refused = in_present_names(values, field_names(cls))
        except ConfigError as error:
            raise ConfigError(f"{source}: {error}") from None
        if refused:
            raise ConfigError(f"{source}: {'; '.join(refused)}")
        return settings

    @classmethod
    def translated_changes(cls, changes: Mapping[str, Any], source: str = "--set") -> dict[str, Any]:
        """The same of single changes, where a field without an effect is an error too."""
        idle = fields_without_effect(changes, field_names(cls))
        if idle:
            raise ConfigError("; ".join(f"{source} {name}: no setting here ({WITHOUT_EFFECT[name]})" for name in idle))
        return cls.translated(changes, source)

    @classmethod
    def from_json(cls, path: str | Path) -> Config:
        """Read a `config.json`, the original project's included. Raises ConfigError with the reason."""
        values = read_json(path)
        config = cls.from_dict(values, source=str(path))
        idle = fields_without_effect(values, field_names(cls))
        if idle:
            logger.info("%s: without an effect here (exp_config/published.py says why): %s", path, ", ".join(idle))
        return config

    @classmethod
    def from_checkpoint(cls, path: str | Path) -> Config:
        """Read the config.json beside weights, for their use. A class with more fields may have written it, or a training
        of the original with settings that are not built here: one warning names them.

        Raises ConfigError with the reason.
        """
        try:
            values, refused = in_present_names(read_json(path), field_names(cls))
        except ConfigError as error:
            raise error if str(path) in str(error) else ConfigError(f"{path}: {error}") from None
        if refused:
            logger.warning("%s: these weights were trained with settings that this program does not have: %s", path,
                           "; ".join(refused))
        more = unknown_fields(cls, values)
        if more and len(more) < len(values):  # where all are unknown the file is another program's
            logger.warning("%s: unknown fields, left out: %s", path, ", ".join(more.values()))
            values = {name: value for name, value in values.items() if name not in more}
        return build(cls, values, str(path))

    def to_json(self, path: str | Path) -> None:
        """Write every field to `path`, atomically."""
        write_json(self, path)

    @staticmethod
    def path(value: str | Path) -> Path:
        """Absolute path of a configured one: relative paths start at the project folder. ConfigError for ~ without a home."""
        try:
            return PROJECT_ROOT / expanded(value)
        except ValueError as error:
            raise ConfigError(str(error)) from None
