"""Types and ranges of every kind of setting: what is refused, and in which words; the named experiments."""
from __future__ import annotations

import dataclasses
import json

import pytest

from exp_config import Config, ConfigError


@pytest.mark.parametrize("changes, told", [
    ({"batch_size": "16"}, "batch_size = '16' is a str; expected int"),
    ({"batch_size": 2.0}, "batch_size = 2.0 is a float; expected int"),
    ({"batch_size": True}, "batch_size = True is a bool; expected int"),
    ({"compile": 1}, "compile = 1 is a int; expected bool"),
    ({"optimizer": "adam"}, "optimizer = 'adam' is a str; expected one of 'adamw', 'muon'"),
    ({"swin_depths": "2,2"}, "--set 'swin_depths=[1, 2]'"),
    ({"loss_weight": "mae"}, "loss_weight={\"mae\": 1.0}"),
    ({"train_folders": "photos"}, "--set 'train_folders=[\"photos\"]'"),
    ({"learning_rate": float("nan")}, "learning_rate = nan; expected a finite number"),
    ({"l_range": [0.0, float("inf")]}, "expected finite numbers"),
    ({"batch_size": 0}, "batch_size = 0; expected at least 1"),
    ({"num_workers": -1}, "num_workers = -1; expected 0 or more"),
    ({"max_val_photos": 0}, "at least 1, or null for all"),
    ({"geometry_rate": 1.5}, "geometry_rate = 1.5; expected a number in [0, 1]"),
    ({"sensor_jpeg_rate": -0.1}, "sensor_jpeg_rate = -0.1; expected a number in [0, 1]"),
    ({"ema_decay": 1.0}, "ema_decay = 1.0; expected a number in [0, 1)"),
    ({"seed": -1}, "a whole number from 0 to 2^64 - 1"),
    ({"project_name": "a/b"}, "a part of a folder's name"),
    ({"swin_num_heads": [5, 4]}, "divisors of z_dims = 24"),
    ({"swin_depths": [2]}, "as many positive numbers as swin_num_heads"),
    ({"unet_num_groups": 5}, "a divisor of unet_init_features = 24"),
    ({"lr_cosine_cycles": 3, "epochs": 2}, "at most epochs = 2"),
    ({"loss_weight": {"mae": 0.0}}, "one at least above 0"),
    ({"alpha_range": [0.3, 0.1]}, "[min, max] with 0 <= min <= max <= 0.999"),
    ({"colour_kept_range": [0.5, 1.1]}, "colour_kept_range = [0.5, 1.1]; expected [min, max] with 0 <= min <= max <= 1.0"),
    ({"colour_kept_range": [0.5]}, "[min, max]"),
    ({"uneven_gain_range": [-0.1, 1.0]}, "[min, max]"),
    ({"change_weight": -1.0, "hvr_n_supervision": 2}, "change_weight = -1.0; expected 0 or more"),
    ({"change_weight": 1.0, "hvr_n_supervision": 1}, "for its first supervision step alone"),
    ({"eval_dataset": {"../a": {"low": "x"}}}, "names of folders that lie below the results"),
    ({"eval_dataset": {"a": {"high": "x"}}}, '{"low": folder} or {"low": folder, "high": folder}'),
])
def test_a_value_that_cannot_be_used_is_told(changes, told):
    with pytest.raises(ConfigError) as error:
        Config.named("default", **changes)
    assert told in str(error.value)


def test_an_unknown_field_is_told_with_the_nearest_one():
    with pytest.raises(ConfigError, match=r"'batch_sice' \(did you mean 'batch_size'\?\)"):
        Config.named("default", batch_sice=3)
    with pytest.raises(ConfigError, match="unknown experiment 'base'; Config has: base_model, dark_photos, default"):
        Config.named("base")


def test_whole_numbers_are_taken_for_fractions_and_change_weight_where_it_acts():
    config = Config.named("default", learning_rate=1, l_range=(0, 1), change_weight=2, hvr_n_supervision=1, hvr_n_progressive=1)
    assert config.learning_rate == 1.0 and type(config.learning_rate) is float
    assert config.l_range == [0.0, 1.0] and all(type(bound) is float for bound in config.l_range)
    assert config.change_weight == 2.0


@pytest.mark.parametrize("name", Config.EXPERIMENTS)
def test_every_experiment_comes_back_from_its_file(name, tmp_path):
    config = Config.named(name)
    config.to_json(tmp_path / "config.json")
    assert Config.from_json(tmp_path / "config.json") == config
    assert set(json.loads((tmp_path / "config.json").read_text())) == {field.name for field in dataclasses.fields(Config)}


def test_what_goes_beyond_the_paper_is_off_in_the_published_experiments():
    for name in ("default", "base_model"):
        config = Config.named(name)
        off = (config.sensor_noise_rate, config.uneven_light_rate, config.change_weight, config.hvr_n_progressive,
               config.ema_decay, config.inference_average, config.inference_border, config.inference_light_order,
               config.inference_white_balance, config.inference_detail, config.inference_megapixels)
        assert set(off) == {0}
        assert config.colour_kept_range == config.normal_mean_range == config.reference_mean == [0.0, 0.0]
        assert config.loss_weight.keys() == {"mae", "sat", "lpips"}
