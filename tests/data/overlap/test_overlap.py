"""The overlap study: its SSIM against scikit-image, its matches against a full computation, its files."""
from __future__ import annotations

import csv
import json

import cv2
import numpy as np
import pytest

from data.overlap import __main__ as overlap
from data.overlap.ssim import Moments, WindowSample, estimate_ssim, full_ssim
from data.overlap.study import OverlapError, study, verify


def save(path, picture):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture[..., ::-1])


@pytest.fixture(scope="module")
def scenes(tmp_path_factory, make_photo):
    """18 training scenes (more than a block) and 4 test pictures: two of them noisy copies, one new, one of another size."""
    folder, rng = tmp_path_factory.mktemp("scenes"), np.random.default_rng(0)
    for n in range(18):
        save(folder / "train" / f"{n:02d}.png", make_photo(60, 80, n))
    for n, noise in ((3, 1), (17, 2)):
        copy = make_photo(60, 80, n) + rng.normal(0, noise, (60, 80, 3))
        save(folder / "test" / f"copy{n}.png", np.clip(np.round(copy), 0, 255).astype(np.uint8))
    save(folder / "test" / "new.png", make_photo(60, 80, 99))
    save(folder / "test" / "small.png", make_photo(40, 80, 3))
    return folder


@pytest.mark.parametrize("shape", [(40, 56), (11, 11), (64, 33)])
def test_full_ssim_is_that_of_scikit_image(make_photo, shape):
    reference = pytest.importorskip("skimage.metrics").structural_similarity
    x, y = (make_photo(*shape, seed) / 255 for seed in (1, 2))
    y = 0.7 * x + 0.3 * y
    expected = reference(x, y, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1, channel_axis=2)
    assert full_ssim(Moments.of(x), Moments.of(y)) == pytest.approx(expected, abs=1e-9)


def test_the_estimate_with_every_window_is_the_full_computation(make_photo):
    pictures = [make_photo(40, 48, seed) / 255 for seed in range(4)]  # so small that the stride is 1
    estimates = estimate_ssim([WindowSample.of(p) for p in pictures[:3]], [WindowSample.of(p) for p in pictures])
    full = [[full_ssim(Moments.of(x), Moments.of(y)) for y in pictures] for x in pictures[:3]]
    np.testing.assert_allclose(estimates, full, atol=2e-4)  # float32


def test_the_estimate_from_few_windows_is_near_the_full_computation(make_photo):
    x = make_photo(400, 600, 1) / 255
    y = np.clip(x + np.random.default_rng(0).normal(0, 0.02, x.shape), 0, 1)
    samples = [WindowSample.of(p) for p in (x, y)]
    assert len(samples[0].mean) < 400 * 600 * 3 / 40
    assert estimate_ssim(samples[:1], samples[1:])[0, 0] == pytest.approx(full_ssim(Moments.of(x), Moments.of(y)), abs=0.01)


def test_copies_are_found_with_exact_scores_and_other_sizes_are_left_out(scenes):
    found = study(scenes / "test", scenes / "train", threshold=0.9)
    names = [(found.tests[test].stem, found.trains[train].stem, rank) for test, train, _, rank in found.matches]
    assert names == [("copy17", "17", 1), ("copy3", "03", 1)]
    small = [path.stem for path in found.tests].index("small")
    assert np.isnan(found.ssim[small]).all() and not np.isnan(np.delete(found.ssim, small, 0)).any()
    x, y = (Moments.of(cv2.imread(str(scenes / name)) / 255) for name in ("test/copy3.png", "train/03.png"))
    assert found.matches[1][2] == pytest.approx(full_ssim(x, y), abs=1e-6)


def test_ranks_order_the_matches_of_each_test_picture(scenes):
    found = study(scenes / "test", scenes / "train", threshold=0.01)
    for test in range(len(found.tests)):
        scores = [score for t, _, score, _ in found.matches if t == test]
        assert scores == sorted(scores, reverse=True)
        assert [rank for t, _, _, rank in found.matches if t == test] == list(range(1, len(scores) + 1))
    assert len(found.matches) > 4


def test_a_folder_against_itself_leaves_out_each_file_with_itself(scenes):
    found = study(scenes / "train", scenes / "train")
    assert np.isnan(np.diag(found.ssim)).all() and not found.matches
    np.testing.assert_allclose(found.ssim, found.ssim.T, atol=1e-5)


def test_verification_counts_matches_that_a_margin_of_zero_would_miss(scenes):
    found = study(scenes / "test", scenes / "train")
    assert verify(found, 1000).recall == 1
    copy, train = [p.stem for p in found.tests].index("copy3"), 3
    found.ssim[copy, train], found.is_full[copy, train] = 0.86, False  # as if its estimate had been far too low
    result = verify(found, 6)
    assert (result.missed, result.found, result.recall, result.checked) == (1, 1, 0.5, 6)
    assert result.largest_error > 0.03


def test_the_command_writes_all_files(scenes, tmp_path, capsys):
    arguments = ["--train", str(scenes / "train"), "--test", str(scenes / "test"), "--output_dir", str(tmp_path)]
    assert overlap.main([*arguments, "--verify", "20"]) == 0
    printed = capsys.readouterr().out
    assert "2 of 4 test pictures have a match" in printed and "recall 1.0000" in printed
    matches = list(csv.DictReader((tmp_path / "matches.csv").open()))
    assert [(m["test"].split("/")[-1], m["rank"]) for m in matches] == [("copy17.png", "1"), ("copy3.png", "1")]
    assert all(float(m["score"]) >= 0.9 for m in matches)
    rows = list(csv.reader((tmp_path / "matrix.csv").open()))
    assert len(rows) == 5 and len(rows[0]) == 19 and rows[4][1:] == [""] * 18
    figures = json.loads((tmp_path / "overlap.json").read_text())
    assert figures["pairs"] == 54 and figures["matches"] == 2 and figures["verification"]["recall"] == 1
    heat_map = cv2.imread(str(tmp_path / "heatmap.png"))
    assert ((heat_map == (0, 0, 255)).all(-1).sum()) == 2 * 24 * 24  # the matches are red cells


@pytest.mark.parametrize("train", ["nowhere", "empty", "broken"])
def test_folders_that_cannot_be_compared_are_named(scenes, tmp_path, capsys, train):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "1.png").write_bytes(b"no picture")
    assert overlap.main(["--train", str(tmp_path / train), "--test", str(scenes / "test"),
                         "--output_dir", str(tmp_path / "out")]) == 2
    assert str(tmp_path / train) in capsys.readouterr().err
    with pytest.raises(OverlapError):
        study(scenes / "test", tmp_path / train)
