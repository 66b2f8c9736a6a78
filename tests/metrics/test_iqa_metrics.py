"""lpips, niqe, piqe and brisque for real, against pyiqa called directly, and by what they are made to tell apart."""
from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from metrics.iqa import IqaMetric

FILES = {"lpips": "LPIPS_v0.1_alex-df73285e.pth", "niqe": "niqe_modelparameters.mat", "brisque": "brisque_svm_weights.pth"}


@pytest.fixture(scope="module")
def photo(shared):
    """A real photo, uint8 (H, W, 3) RGB."""
    path = sorted((shared / "bench/LOLv1_dev/high").iterdir())[0]
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)[:288, :384]


@pytest.fixture(scope="module", params=["lpips", "niqe", "piqe", "brisque"])
def metric(request, metric_weights):
    return IqaMetric(request.param)


def degraded(photo):
    """The photo with growing noise, mildest first."""
    noise = np.random.default_rng(0).normal(0, 1, photo.shape)
    return [np.clip(photo + level * noise, 0, 255).astype(np.uint8) for level in (5, 15, 40)]


def test_equal_to_pyiqa_called_directly(metric, metric_weights, photo):
    import pyiqa

    options = {}
    if metric.name in FILES:
        options["pretrained_model_path"] = str(metric_weights / "hub/pyiqa" / FILES[metric.name])
    own = pyiqa.create_metric(metric.name, device="cpu", **options)
    output, reference = (torch.from_numpy(p).permute(2, 0, 1)[None] / 255 for p in (degraded(photo)[1], photo))
    expected = own(output, reference) if metric.name == "lpips" else own(output)
    assert metric(degraded(photo)[1], photo) == pytest.approx(float(expected), abs=1e-6)


def test_noise_makes_it_worse(metric, photo):
    scores = [metric(picture, photo) for picture in (photo, *degraded(photo))]
    if metric.name == "piqe":  # it takes faint noise for detail
        scores = scores[1:]
    assert scores == sorted(scores) and scores[-1] > 1.2 * scores[0]


def test_lpips_is_zero_for_the_reference_itself(metric_weights, photo):
    assert IqaMetric("lpips")(photo, photo) == 0


@pytest.mark.parametrize("name", ["niqe", "piqe", "brisque"])
def test_the_output_alone_is_judged_without_reference(metric_weights, photo, name):
    metric = IqaMetric(name)
    assert metric(photo) == metric(photo, degraded(photo)[0])


def test_views_and_autocast_change_nothing(metric, photo):
    """A picture read as BGR and turned around is a view with negative strides."""
    view = np.ascontiguousarray(photo[..., ::-1])[..., ::-1]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert metric(view, photo) == metric(photo, photo)
