"""config.json files of the original project."""
from __future__ import annotations

import copy
import dataclasses
import json
import logging

import pytest

from exp_config import NETWORK_FIELDS, PROJECT_ROOT, Config, ConfigError, load_config
from exp_config.published import ONLY, RENAMED, WITHOUT_EFFECT

PLACES = {"exp_name", "checkpoint_dir", "coco_train_images", "coco_train_annotations", "coco_val_images",
          "coco_val_annotations", "eval_dataset"}  # where files lie, and which sets are scored


@pytest.fixture(scope="module")
def published(golden):
    return json.loads((golden / "published_config.json").read_text())


@pytest.fixture
def changed(published, tmp_path):
    """`changed("Swin2SR.depths", value)`: path of the published file with one value changed or added."""
    def write(name, value):
        values = copy.deepcopy(published)
        *groups, last = name.split(".")
        place = values
        for group in groups:
            place = place[group]
        place[last] = value
        path = tmp_path / "config.json"
        path.write_text(json.dumps(values))
        return path

    return write


def test_its_settings_are_those_of_base_model(golden):
    ours, theirs = Config.named("base_model"), load_config(golden / "published_config.json")
    different = {f.name for f in dataclasses.fields(Config) if getattr(ours, f.name) != getattr(theirs, f.name)}
    assert different == PLACES
    assert theirs.exp_name == "exp_dim" and Config.path(theirs.checkpoint_dir) == PROJECT_ROOT / "checkpoint"
    assert theirs.coco_val_annotations == "/dev/shm/dataset/coco/annotations/instances_val2017.json"
    assert theirs.eval_dataset == {name: folders for name, folders in ours.eval_dataset.items() if "high" in folders}


def test_every_field_is_known_and_has_its_reason(published, golden, caplog):
    fields = {f.name for f in dataclasses.fields(Config)}
    groups = {"LightUnetPP", "Swin2SR", "image_preprocessing_config"}
    assert not published.keys() - fields - groups - RENAMED.keys() - ONLY.keys() - WITHOUT_EFFECT.keys()
    assert not WITHOUT_EFFECT.keys() & (fields | ONLY.keys() | RENAMED.keys()) and set(RENAMED.values()) <= fields
    assert all(WITHOUT_EFFECT.values())
    with caplog.at_level(logging.INFO):
        load_config(golden / "published_config.json")
    (line,) = caplog.messages
    assert all(name in line for name in ("device", "tqdm_length", "debug", "info")) and "HVR_T" not in line


@pytest.mark.parametrize(("name", "value", "field", "wanted"), [
    ("num_epochs", 7, "epochs", 7), ("HVR_T", 3, "hvr_t", 3), ("HVR_C", 1, "hvr_c", 1),
    ("HVR_N_supervision", 4, "hvr_n_supervision", 4), ("HVR_N_supervision_inference_factor", 2, "hvr_n_sup_factor", 2.0),
    ("LightUnetPP.num_groups", 4, "unet_num_groups", 4), ("LightUnetPP.init_features", 12, "unet_init_features", 12),
    ("Swin2SR.depths", [1, 3], "swin_depths", [1, 3]), ("Swin2SR.window_size", 4, "swin_window_size", 4),
    ("Swin2SR.num_heads", [2, 3], "swin_num_heads", [2, 3]), ("Swin2SR.mlp_ratio", 4, "swin_mlp_ratio", 4.0),
    ("z_distribution.zeros", True, "z_distribution", "zeros"), ("z_distribution", "zeros", "z_distribution", "zeros"),
    ("image_preprocessing_config.k", {"min_val": 0.1, "max_val": 0.2, "mean": 0.0, "precision": 3}, "k_range", [0.1, 0.2]),
    ("augument_rate", 0.3, "augment_rate", 0.3), ("train_image_ids", [9, 25], "coco_train_ids", [9, 25]),
    ("validation_image_ids", [139], "coco_val_ids", [139]), ("wandb_project_name", "mine", "project_name", "mine"),
    ("output_dir", "/runs", "checkpoint_dir", "/runs"), ("coco_train_dir", "/c", "coco_train_images", "/c"),
    ("image_preprocessing_schedule", {
        "type": "sigmoid", **{end: {name: {"min_val": 0, "max_val": top} for name in ("alpha", "k", "l")}
                              for end, top in (("start", 0.1), ("end", 0.3))}}, "image_preprocessing_schedule",
     {"type": "sigmoid", **{end: {name: [0, top] for name in ("alpha", "k", "l")}
                            for end, top in (("start", 0.1), ("end", 0.3))}}),
    ("eval_dataset", {"Mine": {"input_dir": "a", "target_dir": None, "width": 8, "height": 8}}, "eval_dataset",
     {"Mine": {"low": "a"}}),
])
def test_each_setting_arrives(changed, name, value, field, wanted):
    path = changed(name, value)
    assert getattr(load_config(path), field) == wanted
    assert getattr(Config.from_checkpoint(path), field) == wanted


@pytest.mark.parametrize(("name", "value", "message"), [
    ("Swin2SR.drop_rate", 0.1, "Swin2SR.drop_rate = 0.1, and only 0.0 is built here"),
    ("Swin2SR.attn_drop_rate", 0.1, "Swin2SR.attn_drop_rate = 0.1"), ("Swin2SR.drop_path_rate", 0.2, "Swin2SR.drop_path_rate"),
    ("Swin2SR.resi_connection", "3conv", "Swin2SR.resi_connection = '3conv', and only '1conv' is built here"),
    ("Swin2SR.ape", True, "Swin2SR has unknown members: ape; expected depths, num_heads"),
    ("LightUnetPP", [24, 2], "LightUnetPP = [24, 2]; expected a group of init_features, num_groups"),
    ("z_distribution.std", 0.5, 'z_distribution = {"mean": 0.0, "std": 0.5'),
    ("z_distribution.b", 2.0, "latents of other distributions are not built here"),
    ("z_distribution.zeros", 1, "z_distribution = "),
    ("image_preprocessing_config.l", {"min_val": 0.0}, "image_preprocessing_config.l = "),
    ("eval_dataset.LOLv1.size", 3, "eval_dataset.LOLv1 has unknown members: size"),
    ("epochs", 7, "num_epochs and epochs are one setting, epochs, with two values"),
    ("HVR_T", "two", "hvr_t = 'two' is a str; expected int"),
])
def test_what_no_use_of_the_file_can_do(changed, name, value, message):
    path = changed(name, value)
    for read in (load_config, Config.from_checkpoint):
        with pytest.raises(ConfigError) as caught:
            read(path)
        assert message in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize(("name", "value", "message"), [
    ("blur", False, "blur = False, and only True is built here"), ("fill_noise", False, "fill_noise = False"),
    ("noise_rate", 0.2, "noise_rate = 0.2"), ("normalize_max", True, "normalize_max = True"),
    ("image_mask.max_size", 5, "image_mask.max_size = 5, and only 2"), ("exposure_loss_patch_size", 8, "exposure_loss_patch_"),
    ("image_preprocessing_config.k.mean", 0.2, "image_preprocessing_config.k.mean = 0.2"),
    ("image_preprocessing_config.l.precision", 2, "image_preprocessing_config.l.precision = 2"),
    ("pre_trained", True, "train.py --init_weights FILE"), ("sampling_train_dataset", 0.5, "max_train_photos takes fewer"),
])
def test_what_a_training_cannot_do_is_a_warning_beside_weights(changed, caplog, name, value, message):
    path = changed(name, value)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert message in str(caught.value)
    config = Config.from_checkpoint(path)
    assert message in caplog.text and all(getattr(config, field) == getattr(Config(), field) for field in NETWORK_FIELDS)


def test_an_unknown_field_is_still_an_error(changed, caplog):
    path = changed("HVR_TT", 2)
    with pytest.raises(ConfigError, match=r"unknown field 'HVR_TT'"):
        load_config(path)
    assert Config.from_checkpoint(path).hvr_t == 2 and "unknown fields, left out: 'HVR_TT'" in caplog.text


@pytest.mark.parametrize("path", ["golden", "python"])
def test_single_changes_by_either_name(golden, path):
    path = golden / "published_config.json" if path == "golden" else PROJECT_ROOT / "exp_config/config.py"
    config = load_config(path, overrides=["num_epochs=3", "hvr_t=1", 'LightUnetPP={"num_groups": 4}'])
    assert (config.epochs, config.hvr_t, config.unet_num_groups, config.unet_init_features) == (3, 1, 4, 24)
    with pytest.raises(ConfigError, match=r"--set device: no setting here \(--device, and accelerate's options\)"):
        load_config(path, overrides=["device=cpu"])
    with pytest.raises(ConfigError, match=r"num_epochs and epochs are one setting"):
        load_config(path, overrides=["num_epochs=3", "epochs=4"])
    with pytest.raises(ConfigError, match=r"--set: blur = False, and only True"):
        load_config(path, overrides=["blur=false"])


@dataclasses.dataclass
class OwnConfig(Config):
    """A user's class with a field that the original has too."""

    device: str = "abacus"


def test_a_field_of_ones_own_keeps_its_value():
    assert OwnConfig.named("default", device="loom").device == "loom"
    assert OwnConfig.from_dict({"device": "loom", "debug": 1}).device == "loom"
