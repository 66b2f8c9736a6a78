"""Muon: orthogonal steps for matrices, AdamW for the rest."""
import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from engine.training.checkpoints import LATEST
from engine.training.muon import Muon, is_matrix, orthogonalised
from engine.training.session import run_training
from exp_config import Config
from models import HVR


def train(config, **kwargs) -> Path:
    """Run it; -> the latest run folder."""
    run_training(config, **kwargs)
    return sorted(Path(config.checkpoint_dir).glob("*/"))[-1]


def gradients(parameters, steps, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        for p in parameters:
            p.grad = torch.randn(p.shape, generator=generator)
        yield


@pytest.mark.parametrize("shape", [(24, 432), (72, 24), (3, 24), (24, 3), (48, 48)])
def test_orthogonalised_is_near_the_polar_factor(shape):
    torch.manual_seed(0)
    matrix = torch.randn(shape) @ torch.diag(torch.logspace(0, -1, shape[1]))  # singular values over a wide range
    U, S, Vh = torch.linalg.svd(matrix, full_matrices=False)
    found = orthogonalised(matrix)
    along = torch.einsum("mk,mn,kn->k", U, found, Vh)                        # its part along each singular direction
    strong = 0.1 * S.max() < S
    assert strong.sum() >= 2 and ((along > 0.6) & (along < 1.3))[strong].all()
    assert torch.dist(U * along @ Vh, found) < 1e-4 * found.norm()           # and nothing outside them
    torch.testing.assert_close(orthogonalised(matrix * 1e4), found, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("shape", [(24, 96), (72, 24)])
def test_matrices_follow_torch_muon(shape):
    """torch's own, which knows 2-D tensors only and computes the direction in bfloat16."""
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(shape))
    other = nn.Parameter(weight.detach().clone())
    ours = Muon([weight], lr=0.01, weight_decay=0.1)
    theirs = torch.optim.Muon([other], lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    before = weight.detach().clone()
    for _ in gradients([weight], 5):
        other.grad = weight.grad.clone()
        ours.step()
        theirs.step()
    assert torch.dist(weight, other) < 0.03 * torch.dist(weight, before)


def test_a_convolution_is_a_matrix_of_its_outputs():
    torch.manual_seed(0)
    conv = nn.Parameter(torch.randn(8, 4, 3, 3))
    flat = nn.Parameter(conv.detach().flatten(1).clone())
    optimizers = Muon([conv], lr=0.01), Muon([flat], lr=0.01)
    for _ in gradients([conv], 3):
        flat.grad = conv.grad.flatten(1).clone()
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(conv.flatten(1), flat)


def test_all_other_tensors_follow_adamw():
    torch.manual_seed(0)
    shapes = [(24,), (4, 1, 1), (1, 7), (7, 1)]
    ours = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = copy.deepcopy(ours)
    assert not any(is_matrix(p) for p in ours)
    optimizers = Muon(ours, lr=0.01), torch.optim.AdamW(theirs, lr=0.01)
    for _ in gradients(ours, 4):
        for a, b in zip(ours, theirs, strict=True):
            b.grad = a.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a, b)


def test_steps_of_the_network():
    """Every parameter moves once; a matrix by the root mean square that AdamW's learning rates are made for."""
    model = HVR.from_config(Config())
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = Muon(model.parameters(), lr=1e-3, weight_decay=0.0)
    for _ in gradients(list(model.parameters()), 1):
        optimizer.step()
    moved = {name: (p.detach() - before[name]).square().mean().sqrt().item() for name, p in model.named_parameters()}
    matrices = [name for name, p in model.named_parameters() if is_matrix(p)]
    assert {"embed_layer.embedding.weight", "L_net_model.conv0_0.conv.0.weight", "head_layer.embedding.weight"} <= set(matrices)
    assert all(0.7 * 0.2e-3 < moved[name] < 1.2 * 0.2e-3 for name in matrices)
    assert all(moved[name] == pytest.approx(1e-3, rel=0.01) for name in moved if name not in matrices)


def test_training_resumes_bit_for_bit(tiny_config, tmp_path):
    config = tiny_config(optimizer="muon", epochs=3, learning_rate_static=True, checkpoint_dir=str(tmp_path / "broken"))
    unbroken = train(replace(config, checkpoint_dir=str(tmp_path / "unbroken")))
    run = train(replace(config, epochs=1))
    run_training(config, resume_from=str(run / LATEST))
    assert (run / LATEST / "HVR.safetensors").read_bytes() == (unbroken / LATEST / "HVR.safetensors").read_bytes()


@pytest.mark.parametrize("before, after", [("adamw", "muon"), ("muon", "adamw")])
def test_another_optimizer_starts_anew_with_a_warning(tiny_config, caplog, before, after):
    config = tiny_config(optimizer=before, epochs=1)
    run = train(config)
    run_training(replace(config, optimizer=after, epochs=2), resume_from=str(run / LATEST))
    assert "setting changed since the checkpoint: optimizer" in caplog.text
    assert "the optimizer starts anew" in caplog.text
