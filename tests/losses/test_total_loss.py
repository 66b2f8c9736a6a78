"""The weighted sum: golden values, ranges, precision, and what it refuses."""
from __future__ import annotations

import logging

import pytest
import torch
from safetensors.torch import load_file

from exp_config import Config
from losses.saturation import chroma_distance, saturation_distance
from losses.total import NAMES, TotalLoss


@pytest.fixture(scope="module")
def images(golden):
    """pred, target, input of the golden losses, (2, 3, 64, 80) in [0, 1]."""
    return load_file(golden / "loss_inputs.safetensors")


def to_model_range(images):
    return [2 * images[name] - 1 for name in ("pred", "target", "input")]


def test_total_and_parts_equal_the_published_ones(images, golden_json):
    expected = golden_json("losses.json")["hybrid(mae=1,sat=1,mse=1) on [-1,1]"]
    total, parts = TotalLoss({"mae": 1, "sat": 1, "mse": 1})(*to_model_range(images))
    assert total.item() == pytest.approx(expected.pop("total"), abs=1e-6)
    assert {name: part.item() for name, part in parts.items()} == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", ["sat", "color", "spa", "tv", "satv"])
@pytest.mark.parametrize("one_to_one", [True, False])
def test_each_loss_equals_the_published_value(images, golden_json, name, one_to_one):
    loss = TotalLoss({name: 2.0}, normalize_one_to_one=one_to_one)
    batch = to_model_range(images) if one_to_one else [images[key] for key in ("pred", "target", "input")]
    total, parts = loss(*batch)
    expected = golden_json("losses.json")[name]
    assert parts[name].item() == pytest.approx(expected, abs=1e-6)
    assert total.item() == pytest.approx(2 * expected, abs=2e-6)


@pytest.mark.parametrize(("part", "name"), [(saturation_distance, "saturation"), (chroma_distance, "chroma")])
def test_both_parts_of_sat_equal_the_published_values(images, golden_json, part, name):
    expected = golden_json("losses.json")[f"sat.{name}"]
    assert part(images["pred"], images["target"]).item() == pytest.approx(expected, abs=1e-6)


def test_chroma_is_the_second_part_of_sat(images, golden_json):
    total, _ = TotalLoss({"chroma": 2.0})(*to_model_range(images))
    assert total.item() == pytest.approx(2 * golden_json("losses.json")["sat.chroma"], abs=2e-6)


@pytest.mark.parametrize("name", ["exposure", "exposure_l2"])
@pytest.mark.parametrize("mean", [0.4, 0.5])
def test_exposure_equals_the_published_value(images, golden_json, name, mean):
    _, parts = TotalLoss({name: 1}, exposure_mean=mean)(*to_model_range(images))
    assert parts[name].item() == pytest.approx(golden_json("losses.json")[f"{name}@{mean}"], abs=1e-6)


def test_images_beyond_the_range_are_clamped_but_for_mae_and_mse():
    inside, beyond = torch.full((1, 3, 16, 16), 1.0), torch.full((1, 3, 16, 16), 1.5)
    loss = TotalLoss({"mae": 1, "sat": 1, "exposure": 1})
    _, parts_inside = loss(inside, inside, inside)
    _, parts_beyond = loss(beyond, inside, inside)
    assert parts_beyond["mae"].item() == pytest.approx(0.5)
    assert parts_beyond["sat"] == parts_inside["sat"] == 0
    assert parts_beyond["exposure"] == parts_inside["exposure"]


@pytest.mark.parametrize("value", [-1.0, 0.0, 1.0])
def test_gradient_is_finite_on_flat_images(value):
    """Black, gray and white: max and min of the channels tie, the saturation's quotient is 0 / 1e-6."""
    prediction = torch.full((2, 3, 16, 16), value, requires_grad=True)
    target = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    weights = {name: 1.0 for name in NAMES if name not in ("lpips", "ssim", "psnr", "nlpd", "nrqm")}
    total, _ = TotalLoss(weights)(prediction, target, torch.zeros_like(target))
    total.backward()
    assert torch.isfinite(prediction.grad).all()
    assert prediction.grad.abs().sum() > 0


def test_gradient_of_sat_is_steep_and_finite_near_black():
    colour = torch.tensor([1e-6, 2e-6, 3e-6]).view(1, 3, 1, 1).expand(1, 3, 4, 4) * 2 - 1
    prediction = colour.clone().requires_grad_()
    TotalLoss({"sat": 1})(prediction, torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4))[0].backward()
    assert torch.isfinite(prediction.grad).all()
    assert prediction.grad.abs().max() > 10  # 0.1 * 1e5 .. 1e6 per pixel, over 16 pixels


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_images_give_the_float32_loss_under_autocast(images, dtype):
    loss = TotalLoss({"mae": 1, "sat": 1, "spa": 1, "tv": 1})
    rounded = [image.to(dtype) for image in to_model_range(images)]
    expected, _ = loss(*[image.float() for image in rounded])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        total, parts = loss(*rounded)
    assert total.dtype == torch.float32 and all(part.dtype == torch.float32 for part in parts.values())
    assert total.item() == expected.item()


def test_parts_are_detached_and_only_named_losses_run(images):
    prediction, target, source = to_model_range(images)
    total, parts = TotalLoss({"mae": 1, "sat": 0, "lpips": 0})(prediction.requires_grad_(), target, source)
    assert list(parts) == ["mae"] and not parts["mae"].requires_grad and total.requires_grad


def test_weight_zero_builds_nothing(monkeypatch):
    """Not even pyiqa's door is touched for losses of weight 0."""

    def refuse(name: str, **_):
        raise AssertionError(f"built {name}")

    monkeypatch.setattr("losses.perceptual.create_metric", refuse)
    monkeypatch.setattr("losses.quality.create_metric", refuse)
    assert TotalLoss({name: float(name == "mae") for name in NAMES}).weights == {"mae": 1.0}
    with pytest.raises(AssertionError, match="built lpips"):
        TotalLoss({"lpips": 1e-9})


def test_unknown_name_lists_what_exists():
    with pytest.raises(ValueError, match=r"unknown loss in loss_weight: l1.*there are: .*lpips, mae, mse"):
        TotalLoss({"mae": 1, "l1": 0})


@pytest.mark.parametrize("weight", [-1, float("nan"), float("inf"), "1", True, None])
def test_a_weight_that_is_no_number_is_refused(weight):
    with pytest.raises(ValueError, match=r"loss_weight\['mae'\]"):
        TotalLoss({"mae": weight})


def test_nothing_to_train_with_is_refused():
    with pytest.raises(ValueError, match="no loss is left"):
        TotalLoss({"mae": 0.0})


def test_images_of_different_shapes_are_refused():
    image = torch.zeros(1, 3, 8, 8)
    with pytest.raises(ValueError, match=r"\(1, 3, 8, 8\), \(1, 1, 8, 8\)"):
        TotalLoss({"mae": 1})(image, image[:, :1], image)


@pytest.mark.parametrize(
    ("name", "size"), [("exposure", (15, 20)), ("exposure_l2", (20, 15)), ("tv", (1, 5)), ("satv", (5, 1)),
                       ("detail", (9, 20)), ("seams", (20, 8))]
)
def test_images_too_small_for_a_loss_are_refused(name, size):
    image = torch.zeros(1, 3, *size)
    with pytest.raises(ValueError, match=rf"{name}.*found {size[0]}x{size[1]}"):
        TotalLoss({name: 1})(image, image, image)


def test_missing_lpips_weights_are_one_warning_or_an_error(no_weights, caplog):
    with caplog.at_level(logging.WARNING):
        loss = TotalLoss({"mae": 1, "lpips": 0.1})
    assert len(caplog.records) == 1
    for file in ("LPIPS_v0.1_alex-df73285e.pth", "alexnet-owt-7be5be79.pth"):
        assert file in caplog.text and str(no_weights) in caplog.text and file in loss.missing["lpips"]
    assert loss.weights == {"mae": 1.0}
    with pytest.raises(ValueError, match="alexnet-owt-7be5be79.pth") as error:
        TotalLoss({"mae": 1, "lpips": 0.1}, lpips_required=True)
    helps = str(error.value).partition("What helps:\n")[2].splitlines()
    assert "pip install --no-deps -r requirements-metrics.txt" in helps[0]
    assert "alexnet-owt-7be5be79.pth" in helps[1] and str(no_weights) in helps[1]
    assert "--set lpips_required=false" in helps[2]
    with pytest.raises(ValueError, match=r"no loss is left.*\['lpips'\]"):
        TotalLoss({"lpips": 1})
    with pytest.raises(ValueError, match=r"NRQM_model\.mat"):  # asked for by name, so no silent going on
        TotalLoss({"mae": 1, "nrqm": 1})


def test_the_published_recipe_does_not_lose_a_loss_by_itself():
    assert {name for name in Config.EXPERIMENTS if not Config.named(name).lpips_required} == {"short_test"}
    assert Config.named("short_test", lpips_required=True).lpips_required
