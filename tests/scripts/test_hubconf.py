"""torch.hub.load gives the shipped network and a fresh one, from any folder."""
from __future__ import annotations

import subprocess
import sys

import torch

from exp_config import PROJECT_ROOT
from models import HVR, load_pretrained

SHIPPED = PROJECT_ROOT / "checkpoint" / "zeros"


def load(name: str, **settings):
    return torch.hub.load(str(PROJECT_ROOT), name, source="local", **settings)


def test_shipped_network():
    model = load("hvr_ssle", device="cpu")
    expected = load_pretrained(SHIPPED / "config.json", SHIPPED / "HVR.safetensors")
    assert isinstance(model, HVR) and not model.training
    assert not any(p.requires_grad for p in model.parameters())
    x = torch.rand(1, 3, 16, 24)
    assert torch.equal(model.sample(model.to_model_range(x))[1], expected.sample(expected.to_model_range(x))[1])


def test_fresh_network():
    model = load("hvr_ssle", pretrained=False)
    shipped = load("hvr_ssle")
    assert model.training and all(p.requires_grad for p in model.parameters())
    assert model.sizes == shipped.sizes and model.z_distribution == shipped.z_distribution == "zeros"
    assert not torch.equal(model.head_layer.embedding.weight, shipped.head_layer.embedding.weight)


def run_elsewhere(tmp_path, program: str) -> subprocess.CompletedProcess:
    (tmp_path / "program.py").write_text(f"import torch\nREPO = {str(PROJECT_ROOT)!r}\n{program}")
    return subprocess.run([sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120)


def test_enhancer_from_another_folder(tmp_path):
    done = run_elsewhere(tmp_path, """
dark = torch.rand(1, 3, 20, 30) * 0.1
bright = torch.hub.load(REPO, "enhancer", source="local", strength=0.5)(dark)
assert bright.shape == dark.shape and bright.mean() > dark.mean(), bright.mean()
""")
    assert done.returncode == 0, done.stderr


def test_packages_of_the_same_name_are_named(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text("")
    done = run_elsewhere(tmp_path, 'import models\ntorch.hub.load(REPO, "hvr_ssle", source="local")')
    assert done.returncode != 0 and "a package named 'models' is loaded from" in done.stderr.splitlines()[-1]
