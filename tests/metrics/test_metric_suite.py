"""The suite: what is available, what is missing, and pictures that a metric cannot judge."""
from __future__ import annotations

import math

import numpy as np
import pytest

from exp_config.pyiqa_access import PyiqaUnavailable
from metrics.suite import METRICS, PAIRED, UNPAIRED, MetricSuite


@pytest.fixture(scope="module")
def suite(metric_weights):
    return MetricSuite(PAIRED)


def test_every_metric_has_its_definition_and_direction():
    names = ["psnr", "ssim", "ssim_3x3", "psnr_gtmean", "ssim_gtmean", "lpips", "niqe", "piqe", "brisque", "loe"]
    assert list(METRICS) == list(PAIRED) == names
    assert list(UNPAIRED) == ["niqe", "piqe", "brisque", "loe"]
    assert {name for name, info in METRICS.items() if info.higher_is_better} == set(names[:5])
    assert all(info.name == name and len(info.definition) > 20 for name, info in METRICS.items())


def test_names_and_order(suite):
    assert MetricSuite(["ssim", "psnr", "ssim"]).names == ("ssim", "psnr")
    assert list(suite.available) == list(PAIRED) and suite.missing == {}
    with pytest.raises(ValueError, match=r"unknown metric 'fid'; there are: psnr, ssim"):
        MetricSuite(["psnr", "fid"])


def test_paired_and_unpaired_scores(suite, make_photo):
    photo = make_photo(100, 120)
    paired, unpaired = suite.score(photo, photo, photo // 2), suite.score(photo, source=photo // 2)
    assert list(paired) == list(PAIRED) and list(unpaired) == list(UNPAIRED)
    assert paired["psnr"] == math.inf and paired["lpips"] == 0 and paired.reasons == {}
    assert {name: paired[name] for name in UNPAIRED} == dict(unpaired)
    assert "loe" not in suite.score(photo, photo) and "loe" not in suite.score(photo)


def test_scores_stay_the_same_whatever_was_scored_before(suite, make_photo):
    photos = [make_photo(100, 100, seed) for seed in range(3)]
    first = [suite.score(photo, photos[0]) for photo in photos]
    again = [suite.score(photo, photos[0]) for photo in reversed(photos)]
    assert first == again[::-1] and first[1] != first[2]


@pytest.mark.parametrize("level", [0, 128, 255])
def test_flat_pictures_end_nothing(suite, level):
    flat = np.full((97, 97, 3), level, np.uint8)
    scores = suite.score(flat, flat, flat)
    assert list(scores) == list(PAIRED)
    assert math.isnan(scores["niqe"]) and math.isnan(scores["brisque"])
    assert set(scores.reasons) == {name for name, value in scores.items() if math.isnan(value)}
    assert all(scores.reasons.values())


def test_pictures_too_small_for_some_metrics(suite, make_photo):
    photo = make_photo(95, 120)
    scores = suite.score(photo, photo)
    assert set(scores.reasons) == {"niqe"} and math.isnan(scores["niqe"])
    assert "at least 96 pixels, found 120x95" in scores.reasons["niqe"]
    tiny = suite.score(photo[:1, :1], photo[:1, :1])
    assert set(tiny.reasons) == set(PAIRED) - {"psnr", "psnr_gtmean", "loe"}


def test_other_arrays_are_the_callers_error(suite, make_photo):
    with pytest.raises(ValueError, match="one size"):
        suite.score(make_photo(20, 20), make_photo(20, 21))
    with pytest.raises(ValueError, match="uint8"):
        suite.score(make_photo(20, 20) / 255)


def test_missing_weights_are_reported_and_the_others_run(tmp_path, monkeypatch, make_photo):
    pytest.importorskip("pyiqa", reason="needs pyiqa")

    def refuse(url: str, seconds: float):
        raise OSError("no internet here")

    monkeypatch.setattr("exp_config.pyiqa_access._open_within", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    suite = MetricSuite(PAIRED)
    assert set(suite.missing) == {"lpips", "niqe", "brisque"}
    for name, file in {
        "lpips": "checkpoints/alexnet-owt-7be5be79.pth",
        "niqe": "pyiqa/niqe_modelparameters.mat",
        "brisque": "pyiqa/brisque_svm_weights.pth",
    }.items():
        assert str(tmp_path / "hub" / file) in suite.missing[name] and "TORCH_HOME" in suite.missing[name]
    scores = suite.score(make_photo(32, 32), make_photo(32, 32, 1))
    assert list(scores) == ["psnr", "ssim", "ssim_3x3", "psnr_gtmean", "ssim_gtmean", "piqe"] and not scores.reasons


def test_a_machine_without_pyiqa(monkeypatch, make_photo):
    monkeypatch.setattr("exp_config.pyiqa_access.importlib.util.find_spec", lambda name: None)
    suite = MetricSuite(["psnr", "piqe"])
    assert list(suite.available) == ["psnr"] and "pyiqa, which is not installed" in suite.missing["piqe"]


def test_one_failing_metric_ends_nothing(suite, make_photo, monkeypatch):
    def fail(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setitem(suite._networks, "niqe", fail)
    scores = suite.score(make_photo(100, 100))
    assert scores.reasons == {"niqe": "RuntimeError: out of memory"} and math.isfinite(scores["brisque"])


def test_a_damaged_weight_file_is_named(tmp_path, monkeypatch):
    pytest.importorskip("pyiqa", reason="needs pyiqa")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    damaged = tmp_path / "hub/pyiqa/niqe_modelparameters.mat"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"not a MAT file")
    missing = MetricSuite(["niqe"]).missing["niqe"]
    assert str(damaged) in missing and "damaged" in missing
    assert issubclass(PyiqaUnavailable, ValueError)
