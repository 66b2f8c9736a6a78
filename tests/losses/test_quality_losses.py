"""lpips, ssim, psnr, nlpd and nrqm: the losses that stand on pyiqa."""
from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import scipy.io
import torch
from torch.autograd import gradcheck

from losses.perceptual import LpipsLoss
from losses.quality import QualityLoss
from losses.total import TotalLoss

pyiqa = pytest.importorskip("pyiqa", reason="needs pyiqa")


def pair(height: int = 40, width: int = 48, dtype: torch.dtype = torch.float32, seed: int = 0):
    """Prediction and target (2, 3, H, W) in [0.1, 0.9], similar to each other."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(2, 3, height, width, generator=generator, dtype=dtype) * 0.6 + 0.2
    noise = torch.rand(2, 3, height, width, generator=generator, dtype=dtype) * 0.2 - 0.1
    return target + noise, target


@pytest.fixture(scope="module")
def lpips(metric_weights):
    return LpipsLoss()


@pytest.mark.parametrize("one_to_one", [True, False])
def test_lpips_equals_pyiqas_own(metric_weights, one_to_one):
    prediction, target = pair()
    heads = metric_weights / "hub/pyiqa/LPIPS_v0.1_alex-df73285e.pth"
    own = pyiqa.create_metric("lpips", device="cpu", pretrained_model_path=str(heads))
    expected = own(prediction, target).mean().item()
    scaled = [2 * image - 1 if one_to_one else image for image in (prediction, target)]
    assert LpipsLoss(normalize_one_to_one=one_to_one)(*scaled).item() == pytest.approx(expected, abs=1e-6)


def test_lpips_is_zero_for_equal_images_and_grows_with_noise(lpips):
    _, target = pair()
    noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(1))
    distances = [lpips(target + level * noise, target).item() for level in (0, 0.05, 0.1, 0.2)]
    assert distances[0] == 0
    assert distances == sorted(distances) and distances[1] > 1e-4


def test_lpips_gradient(metric_weights):
    loss = LpipsLoss(dtype=torch.float64)
    prediction, target = pair(32, 32, torch.float64)
    # fast_mode: along random directions; 6,144 pixels one by one would take minutes.
    assert gradcheck(lambda image: loss(image, target), prediction.requires_grad_(), fast_mode=True)


@pytest.mark.parametrize("value", [-1.0, 0.0, 1.0])
def test_lpips_gradient_is_finite_on_flat_images(lpips, value):
    prediction = torch.full((1, 3, 32, 32), value, requires_grad=True)
    (lpips(prediction, torch.zeros(1, 3, 32, 32)) + lpips(prediction, prediction.detach())).backward()
    assert torch.isfinite(prediction.grad).all()


def test_lpips_network_is_frozen_and_reaches_the_prediction_alone(lpips):
    prediction, target = pair()
    prediction.requires_grad_(), target.requires_grad_()
    lpips(prediction, target).backward()
    assert prediction.grad.abs().sum() > 0 and target.grad is None
    assert not lpips._alexnet.training
    assert not any(parameter.requires_grad for parameter in (*lpips._alexnet.parameters(), *lpips._layer_weights))


def test_lpips_computes_a_targets_features_once_and_lets_them_go(lpips, monkeypatch):
    seen = []
    original = LpipsLoss._features
    monkeypatch.setattr(LpipsLoss, "_features", lambda self, image: seen.append(image) or original(self, image))
    prediction, target = pair()
    first, second = lpips(prediction, target), lpips(prediction + 0.01, target)
    assert sum(image is target for image in seen) == 1
    assert first != second
    with torch.no_grad():
        target.mul_(0.5)  # written to: the features are stale
    changed = lpips(prediction, target)
    assert sum(image is target for image in seen) == 2
    assert changed == LpipsLoss()(prediction, target.clone())
    alive = weakref.ref(lpips._target_features[0])
    seen.clear()
    del target
    gc.collect()
    assert alive() is None and lpips._target_features == []


def test_lpips_after_inference_mode_still_trains(lpips):
    prediction, target = pair()
    with torch.inference_mode():
        watched = lpips(prediction, target).item()
        lpips(prediction, target.clone())
    trained = lpips(prediction.requires_grad_(), target)
    trained.backward()
    assert trained.item() == pytest.approx(watched, abs=1e-6) and prediction.grad.abs().sum() > 0


def test_lpips_in_the_total_is_float32_under_autocast(metric_weights):
    loss = TotalLoss({"mae": 1.0, "lpips": 0.1}, normalize_one_to_one=False)
    prediction, target = pair()
    expected, _ = loss(prediction, target, target)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        total, parts = loss(prediction, target, target)
    assert total == expected
    assert total.item() == pytest.approx(parts["mae"].item() + 0.1 * parts["lpips"].item(), abs=1e-6)


def test_lpips_names_the_smallest_image(lpips):
    lpips(torch.zeros(1, 3, 31, 31), torch.zeros(1, 3, 31, 31))
    with pytest.raises(ValueError, match="at least 31x31.*found 30x31"):
        lpips(torch.zeros(1, 3, 30, 31), torch.zeros(1, 3, 30, 31))


@pytest.mark.parametrize(("name", "offset", "slope"), [("ssim", 1, -1), ("psnr", 1, -1 / 80), ("nlpd", 0, 1)])
def test_quality_losses_equal_pyiqas_own(name, offset, slope):
    prediction, target = pair()
    expected = offset + slope * pyiqa.create_metric(name, device="cpu")(prediction, target).mean().item()
    total, parts = TotalLoss({name: 1}, normalize_one_to_one=False)(prediction, target, target)
    assert total.item() == pytest.approx(expected, abs=1e-6)
    assert total.dtype == parts[name].dtype == torch.float32


def test_psnr_loss_of_a_known_error():
    """An error of 0.1 everywhere is 20 dB: 1 - 20 / 80."""
    target = torch.full((1, 3, 4, 4), 0.5)
    assert QualityLoss("psnr")(target + 0.1, target).item() == pytest.approx(0.75, abs=1e-5)


@pytest.mark.parametrize("name", ["ssim", "psnr", "nlpd"])
def test_gradients_of_quality_losses(name, monkeypatch):
    # SSIM counts on 8-bit levels and passes gradients straight through the rounding: check the function without it.
    from pyiqa.archs import ssim_arch

    monkeypatch.setattr(ssim_arch, "preprocess_rgb", lambda image, *_: 255 * ssim_arch.to_y_channel(image, 1.0))
    loss = QualityLoss(name, dtype=torch.float64)
    prediction, target = pair(15, 14, torch.float64)
    assert gradcheck(lambda image: loss(image, target), prediction.requires_grad_(), fast_mode=True)


def test_rounded_ssim_passes_gradients_straight_through():
    """At gray images of whole 8-bit levels the rounding changes nothing: gradients are the smooth function's."""
    from pyiqa.archs import ssim_arch

    generator = torch.Generator().manual_seed(3)
    levels = torch.randint(50, 200, (1, 1, 12, 12), generator=generator)
    noisy = levels + torch.randint(-40, 41, levels.shape, generator=generator)
    prediction, target = (gray.expand(1, 3, 12, 12).double() / 255 for gray in (noisy, levels))
    ours, smooth = prediction.clone().requires_grad_(), prediction.clone().requires_grad_()
    QualityLoss("ssim", dtype=torch.float64)(ours, target).backward()
    luma = [255 * ssim_arch.to_y_channel(image, 1.0) for image in (smooth, target)]
    (1 - ssim_arch.ssim(*luma, data_range=255).mean()).backward()
    assert ours.grad.abs().max() > 1e-4
    torch.testing.assert_close(ours.grad, smooth.grad, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("name", ["ssim", "psnr", "nlpd"])
def test_gradients_of_quality_losses_are_finite_for_equal_images(name):
    _, target = pair(16, 16)
    prediction = target.clone().requires_grad_()
    QualityLoss(name)(prediction, target).backward()
    assert torch.isfinite(prediction.grad).all()


def test_quality_loss_names_the_smallest_image():
    with pytest.raises(ValueError, match="ssim needs images of at least 11x11, found 10x20"):
        QualityLoss("ssim")(torch.zeros(1, 3, 10, 20), torch.zeros(1, 3, 10, 20))


def save_forest(path, scores) -> None:
    """An NRQM model file of three one-node trees that answer `scores`, weighted 1, 2, 3 after an offset of 0.5."""
    leaf = np.zeros((1, 1), dtype=np.int64)
    forests = np.empty((1, 3), dtype=object)
    for index, score in enumerate(scores):
        forests[0, index] = {
            "ldau": leaf, "rdau": leaf, "unused1": leaf, "unused2": leaf, "threshold": leaf.astype(float),
            "prediction": np.full((1, 1), float(score)), "attribute": leaf + 1,
        }
    path.parent.mkdir(parents=True)
    scipy.io.savemat(path, {"model": {"linear": np.array([[0.5], [1.0], [2.0], [3.0]]), "rf": forests}})


def test_nrqm_loss_with_a_made_up_forest(tmp_path, monkeypatch):
    """The real model file is nowhere to be had here: a forest of known answers shows the way from file to loss."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    save_forest(tmp_path / "hub/pyiqa/NRQM_model.mat", [0.5, 0.75, 0.25])
    prediction, target = pair(64, 64)
    loss = TotalLoss({"mae": 1, "nrqm": 1}, normalize_one_to_one=False)
    total, parts = loss(prediction.requires_grad_(), target, target)
    total.backward()
    assert parts["nrqm"].item() == pytest.approx(1 - (0.5 + 0.5 + 1.5 + 0.75) / 10)
    assert prediction.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="nrqm has no gradient"):
        TotalLoss({"nrqm": 1})
