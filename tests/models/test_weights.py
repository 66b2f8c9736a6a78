"""Weight files: every dialect loads, everything else is refused with a list, ours are plain and small."""
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from exp_config import Config, ConfigError
from models import HVR, WeightsError, load_pretrained, save_weights
from models.weights import load_state, translate_keys


@pytest.fixture(scope="module")
def published(golden):
    """A file as published: the golden weights plus the mask buffers, in every key, shape and type of the manifest."""
    tensors = load_file(golden / "hvr_random_weights.safetensors")
    manifest = json.loads((golden / "state_dict_manifest.json").read_text())
    for key, (shape, dtype) in manifest.items():
        tensors.setdefault(key, torch.zeros(shape, dtype=getattr(torch, dtype)))
    assert {k: list(v.shape) for k, v in tensors.items()} == {k: s for k, (s, _) in manifest.items()}
    return tensors


@pytest.fixture(scope="module")
def plain(golden):
    return translate_keys(load_file(golden / "hvr_random_weights.safetensors"))


DIALECTS = {
    "published": lambda k: k,
    "compiled": lambda k: "_orig_mod." + k,
    "parallel": lambda k: "module." + k,
    "compiled inside parallel": lambda k: "module._orig_mod." + k,
    "parallel inside compiled": lambda k: "_orig_mod.module." + k,
    "compiled parts": lambda k: k.replace("_net_model.", "_net_model._orig_mod.").replace("layer.", "layer.module."),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_loads(dialect, published, plain):
    model = HVR.from_config(Config())
    load_state(model, {DIALECTS[dialect](k): v for k, v in published.items()}, "file")
    assert all(torch.equal(p, plain[n]) for n, p in model.named_parameters())


def test_files_without_twins_or_with_other_masks_load(published, plain):
    tensors = {k: v for k, v in published.items() if not k.startswith(("embed_layer.layers", "head_layer.embedding"))}
    tensors["H_net_model.layers.0.residual_group.blocks.1.attn_mask"] = torch.zeros(4, 64, 64)
    model = HVR.from_config(Config())
    load_state(model, tensors, "file")
    assert torch.equal(model.head_layer.embedding.weight, plain["head_layer.embedding.weight"])


def test_bad_files_are_refused_whole_with_a_full_list(plain):
    model = HVR.from_config(Config())
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    broken = dict(plain)
    del broken["L_net_model.final_conv.bias"]
    broken["extra.weight"] = torch.zeros(2)
    broken["head_layer.embedding.weight"] = torch.zeros(3, 25, 1, 1)
    broken["head_layer.embedding.bias"] = torch.tensor([0.0, float("nan"), 0.0])
    with pytest.raises(WeightsError) as caught:
        load_state(model, broken, "my.safetensors")
    text = str(caught.value)
    for part in ("my.safetensors", "missing: L_net_model.final_conv.bias", "unexpected: extra.weight", "not finite",
                 "wrong shape: head_layer.embedding.weight is (3, 25, 1, 1), expected (3, 24, 1, 1)"):
        assert part in text
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters())


def test_contradicting_twins_are_refused(published):
    tensors = {**published, "embed_layer.layers.0.bias": torch.ones(24)}
    with pytest.raises(WeightsError, match="two different tensors .* embed_layer.embedding.bias"):
        load_state(HVR.from_config(Config()), tensors, "file")


def test_saved_file_is_plain_small_and_loads(tmp_path, plain):
    model = HVR.from_config(Config())
    load_state(model, plain, "golden")
    save_weights(torch.nn.ModuleDict({"module": model}), tmp_path / "HVR.safetensors", Config(hvr_t=3))
    saved = load_file(tmp_path / "HVR.safetensors")
    assert set(saved) == {n for n, _ in model.named_parameters()}
    assert (tmp_path / "HVR.safetensors").stat().st_size < 1.5e6
    assert sorted(f.name for f in tmp_path.iterdir()) == ["HVR.safetensors", "config.json"]
    loaded = load_pretrained(tmp_path / "config.json", tmp_path / "HVR.safetensors", "cpu")
    assert loaded.T == 3 and not loaded.training
    assert all(torch.equal(p, plain[n]) for n, p in loaded.named_parameters())


def test_a_config_of_another_class(tmp_path, caplog):
    """Fields that are unknown here do not stop those who use the weights; a file without a known one is refused."""
    model = HVR.from_config(Config(hvr_t=3))
    save_weights(model, tmp_path / "HVR.safetensors", Config(hvr_t=3))
    values = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**values, "extra": 3, "hvr_tt": 1}))
    config = Config.from_checkpoint(tmp_path / "config.json")
    assert load_pretrained(config, tmp_path / "HVR.safetensors").T == config.hvr_t == 3
    (record,) = caplog.records
    assert record.getMessage().endswith("unknown fields, left out: 'extra', 'hvr_tt' (did you mean 'hvr_t'?)")
    with pytest.raises(ConfigError, match="unknown field 'extra', 'hvr_tt'"):
        Config.from_json(tmp_path / "config.json")
    (tmp_path / "config.json").write_text('{"of": "another program"}')
    with pytest.raises(ConfigError, match="unknown field 'of'"):
        Config.from_checkpoint(tmp_path / "config.json")


def test_unreadable_files_are_named(tmp_path):
    Config().to_json(tmp_path / "config.json")
    with pytest.raises(WeightsError, match="no weights file"):
        load_pretrained(tmp_path / "config.json", tmp_path / "none.safetensors")
    (tmp_path / "junk.safetensors").write_bytes(b"junk" * 10)
    with pytest.raises(WeightsError, match="not a readable safetensors file"):
        load_pretrained(tmp_path / "config.json", tmp_path / "junk.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="missing: embed_layer.embedding.weight"):
        load_pretrained(tmp_path / "config.json", tmp_path / "other.safetensors")
