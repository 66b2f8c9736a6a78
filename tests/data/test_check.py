"""`python -m data.check`: what it says of sets that are there, half there, and not there."""
from __future__ import annotations

import json

import cv2
import pytest

from data import check as module
from data.benchmarks import BenchmarkSet
from data.check import check, check_benchmark, check_photos
from data.pairs.errors import DataError
from exp_config import Config


@pytest.fixture(autouse=True)
def no_shared_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("data.pairs.coco.cache_folders", lambda: [tmp_path / "cache"])


@pytest.fixture
def save(tmp_path, make_photo):
    """`save("a/1.png", 20, 30)` writes a picture below the test's folder -> its path."""
    def write(name, height=20, width=30):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), make_photo(height, width))
        return path
    return write


def lol(tmp_path, name="LOLv1"):
    return BenchmarkSet(name, tmp_path / "low", tmp_path / "high")


def coco(tmp_path, names):
    file = tmp_path / "instances.json"
    images = [{"id": n, "file_name": name} for n, name in enumerate(names)]
    file.write_text(json.dumps({"images": images, "annotations": [], "categories": []}))
    return file


def test_a_whole_benchmark_is_found(tmp_path, save):
    for n in range(15):
        save(f"low/{n}.png"), save(f"high/{n}.png")
    finding = check_benchmark(lol(tmp_path))
    assert finding.state == "found" and finding.details.startswith("15 pairs in ")


@pytest.mark.parametrize(("change", "said"), [
    ("no high folder", "no folder {high}"),
    ("no pictures", "no pictures in {high}"),
    ("lonely", "without a partner: 2.png, 3.png, 4.png of {low}"),
    ("too few", "2 pairs, expected 15"),
    ("sizes", "different sizes: {low}/1.png (30x20) and {high}/1.png (30x22)"),
    ("broken", "no readable pictures: {high}/1.png (an HTML page"),
    ("empty", "empty files: {high}/1.png"),
])
def test_what_is_missing_of_a_benchmark_is_said(tmp_path, save, change, said):
    low, high = tmp_path / "low", tmp_path / "high"
    for n in range(2):
        save(f"low/{n}.png")
        if change != "no high folder":
            save(f"high/{n}.png", 22 if change == "sizes" and n else 20)
    if change == "no pictures":
        for file in high.iterdir():
            file.unlink()
    if change == "lonely":
        for n in range(2, 5):
            save(f"low/{n}.png")
    if change == "broken":
        (high / "1.png").write_bytes(b"<html>Too many requests</html>")
    if change == "empty":
        (high / "1.png").write_bytes(b"")
    finding = check_benchmark(lol(tmp_path))
    assert finding.state == "incomplete" and (change != "empty" or "no readable" not in finding.details)
    assert said.format(low=low, high=high) in finding.details


def test_absent_benchmarks_and_turned_pictures(tmp_path, save):
    assert check_benchmark(lol(tmp_path)).state == "absent"
    save("low/1.png", 20, 30), save("high/1.png", 30, 20)  # one of them may carry an orientation tag
    assert check_benchmark(lol(tmp_path, "Mine")).state == "found"


@pytest.mark.parametrize(("count", "state", "said"), [
    (10, "found", "10 pictures in"), (12, "found", "editions have 10"), (7, "incomplete", "7 pictures, expected 10")])
def test_unpaired_sets_exist_in_editions(tmp_path, save, count, state, said):
    for n in range(count):
        save(f"LIME/{n}.bmp")
    finding = check_benchmark(BenchmarkSet("LIME", tmp_path / "LIME"))
    assert finding.state == state and said in finding.details


def test_coco_photos_are_compared_with_the_annotation_file(tmp_path, save):
    file = coco(tmp_path, [f"{n}.jpg" for n in range(6)])
    assert check_photos("coco_train", tmp_path / "train2017", tmp_path / "none.json").state == "absent"
    finding = check_photos("coco_train", tmp_path / "train2017", file)
    assert finding.state == "incomplete" and "no folder" in finding.details and str(file) not in finding.details
    save("train2017/0.jpg")
    finding = check_photos("coco_train", tmp_path / "train2017", file)
    assert finding.state == "incomplete" and "1 of the 6 photos" in finding.details
    assert "1.jpg, 2.jpg, 3.jpg and 2 more" in finding.details
    assert check_photos("coco_train", tmp_path / "train2017", file, [0]).state == "found"
    assert "does not have: 77" in check_photos("coco_train", tmp_path / "train2017", file, [0, 77]).details
    for n in range(1, 6):
        save(f"train2017/{n}.jpg")
    finding = check_photos("coco_train", tmp_path / "train2017", file)
    assert finding.state == "found" and "6 photos" in finding.details and "118,287" in finding.details


def test_empty_photos_are_counted(tmp_path, save):
    file = coco(tmp_path, [f"{n}.jpg" for n in range(6)])
    for n in range(6):
        save(f"train2017/{n}.jpg")
    for n in range(1, 6):
        (tmp_path / f"train2017/{n}.jpg").write_bytes(b"")
    finding = check_photos("coco_train", tmp_path / "train2017", file)
    assert finding.state == "incomplete" and finding.details.startswith("5 of the 6 photos are empty files: ")
    assert finding.details.endswith("/3.jpg and 2 more")
    assert "5 of the 6 photos in" in check_photos("train_folders:x", tmp_path / "train2017").details


def test_damaged_annotations_and_plain_folders(tmp_path, save):
    save("photos/sub/a.jpg")
    assert check_photos("x", tmp_path / "photos").details.startswith("1 photos in ")
    (tmp_path / "empty").mkdir()
    assert check_photos("x", tmp_path / "empty").state == "incomplete"
    (tmp_path / "damaged.json").write_text("{")
    assert "damaged.json" in check_photos("x", tmp_path / "photos", tmp_path / "damaged.json").details


def test_the_command_lists_every_configured_set(tmp_path, save, capsys):
    save("low/1.png"), save("high/1.png")
    config = Config(coco_train_images=str(tmp_path / "t"), coco_train_annotations=None, coco_val_images=None,
                    val_folders=[str(tmp_path / "low")], eval_dataset={
                        "Mine": {"low": str(tmp_path / "low"), "high": str(tmp_path / "high")},
                        "VV": {"low": str(tmp_path / "VV")}})
    config.to_json(tmp_path / "config.json")
    names = ["coco_train", f"val_folders:{tmp_path / 'low'}", "Mine", "VV"]
    assert [(f.name, f.state) for f in check(config)] == list(zip(names, ["absent", "found", "found", "absent"], strict=True))
    arguments = ["--config_path", str(tmp_path / "config.json")]
    assert module.main(arguments) == 1
    printed = capsys.readouterr().out
    assert all(name in printed for name in names) and "dataset/README.md" in printed
    assert module.main([*arguments, "Mine"]) == 0
    assert "VV" not in capsys.readouterr().out
    assert module.main([*arguments, "LOLv9"]) == 2
    assert "LOLv9" in capsys.readouterr().err
    assert module.main(["--config_path", str(tmp_path / "none.json")]) == 2
    with pytest.raises(DataError, match="coco_train.*Mine"):
        check(config, ["LOLv9"])
