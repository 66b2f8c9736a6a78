"""Pairing of benchmark pictures by name, on the names of the published sets and on those that must be refused."""
from __future__ import annotations

import random

import pytest

from data.benchmarks import BenchmarkAbsent, BenchmarkError, BenchmarkSet, benchmark_sets, list_pictures, pair_by_name
from exp_config import PROJECT_ROOT, Config


@pytest.fixture
def folders(tmp_path):
    """`folders(low=[names], high=[names])` makes the files (empty: only names count here) -> the two folders."""
    def make(**names):
        for side, files in names.items():
            for name in files:
                path = tmp_path / side / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
        return [tmp_path / side for side in names]
    return make


def partners(pairs):
    return {pair.low.name: pair.high.name for pair in pairs}


@pytest.mark.parametrize(("low", "high"), [
    ("1.png", "1.png"),                      # LOL-v1
    ("r000da54ft.png", "r000da54ft.png"),    # LOL-v2 synthetic
    ("2001.jpg", "2001.jpg"),                # LSRW
    ("low00690.png", "normal00690.png"),     # LOL-v2 real
    ("LOW_12.PNG", "high-12.jpg"),
    ("low 3.png", "Normal3.png"),
    ("7.jpg", "normal7.png"),
    ("a b.JPG", "a b.png"),                  # any suffix
    ("café.webp", "café.tif"),
    ("N\u00e4chte \u00e9.jpg", "Na\u0308chte e\u0301.png"),  # one letter or two characters: the same text
    ("lo\u0301w.png", "l\u00f3w.png"),
])
def test_names_that_are_pairs(folders, low, high):
    pairs = pair_by_name(*folders(low=[low, "other.png"], high=["other.png", high]))
    assert partners(pairs) == {low: high, "other.png": "other.png"}


@pytest.mark.parametrize(("low", "high"), [
    ("low1.png", "normal01.png"),       # digits are compared as text
    ("low1.png", "dark1.png"),          # an unknown prefix
    ("A.png", "a.png"),
    ("1.png", "2.png"),                 # never by position
    ("2001_1.jpg", "2001_2.jpg"),
    ("lowlight.png", "highlight.png"),  # a prefix without a number after it
])
def test_names_that_are_no_pairs(folders, low, high):
    with pytest.raises(BenchmarkError, match="without a partner") as error:
        pair_by_name(*folders(low=[low, "same.png"], high=["same.png", high]))
    assert low in str(error.value) and high in str(error.value)


def test_sub_folders_in_another_unicode_form(folders):
    [pair] = pair_by_name(*folders(low=["\u00e9/1.png"], high=["e\u0301/1.png"]))
    assert pair.high.is_file()


@pytest.mark.parametrize("high", [["\u00e9.png"], None])
def test_names_that_are_one_in_a_normal_form_are_an_error(folders, high):
    low = ["\u00e9.png", "e\u0301.png"]
    sides = folders(low=low) if high is None else folders(low=low, high=high)
    with pytest.raises(BenchmarkError, match="ambiguous"):
        BenchmarkSet("x", *sides).pairs()


@pytest.mark.parametrize("folder", ["@eaDir/IMG_1.jpg", ".thumbnails", "$RECYCLE.BIN/S-1-5", "__MACOSX/photos", "#recycle",
                                    ".Trash-1000/files", "System Volume Information"])
def test_folders_of_programs_are_not_the_users_photos(folders, folder):
    [low] = folders(low=["IMG_1.jpg", f"{folder}/SYNOPHOTO_THUMB_M.jpg", f"holiday/{folder}/1.jpg", "eaDir/2.jpg"])
    assert [path.as_posix() for path in list_pictures(low)] == ["IMG_1.jpg", "eaDir/2.jpg"]


def test_lolv2_real_is_paired_by_number_whatever_the_order(folders):
    numbers = [f"{n:05d}" for n in random.Random(0).sample(range(1000), 100)]
    low, high = folders(low=[f"low{n}.png" for n in numbers], high=[f"normal{n}.png" for n in reversed(numbers)])
    pairs = pair_by_name(low, high)
    assert len(pairs) == 100
    assert all(pair.low.stem.removeprefix("low") == pair.high.stem.removeprefix("normal") for pair in pairs)
    assert [pair.name for pair in pairs] == sorted(pair.name for pair in pairs)


def test_equal_names_win_over_equal_numbers(folders):
    pairs = pair_by_name(*folders(low=["1.png", "low1.png"], high=["1.png", "normal1.png"]))
    assert partners(pairs) == {"1.png": "1.png", "low1.png": "normal1.png"}


def test_pictures_without_partner_are_named_on_both_sides_and_counted(folders):
    low, high = folders(low=["1.png", *(f"lonely{n}.png" for n in range(8))], high=["1.jpg", "extra.png"])
    with pytest.raises(BenchmarkError) as error:
        pair_by_name(low, high)
    text = str(error.value)
    assert "lonely0.png" in text and "and 3 more" in text and "extra.png" in text and str(low) in text and str(high) in text


@pytest.mark.parametrize(("low", "high"), [
    (["1.png", "1.jpg"], ["1.png"]),
    (["1.png"], ["1.png", "1.bmp"]),
    (["low1.png", "Low_1.png"], ["normal1.png"]),
])
def test_ambiguous_names_are_refused(folders, low, high):
    with pytest.raises(BenchmarkError, match="ambiguous") as error:
        pair_by_name(*folders(low=low, high=high))
    assert all(name in str(error.value) for name in [*low, *high])


def test_pairs_stay_within_their_sub_folder(folders):
    pairs = pair_by_name(*folders(low=["a/1.png", "b/1.png"], high=["a/1.png", "b/1.png"]))
    assert [(str(p.name), p.high.parent.name) for p in pairs] == [("a/1.png", "a"), ("b/1.png", "b")]


def test_only_visible_pictures_are_listed(folders):
    (folder,) = folders(low=["b.JPG", "a.png", "notes.txt", "Thumbs.db", ".hidden.png", ".cache/x.png", "sub/c.tiff"])
    assert [str(name) for name in list_pictures(folder)] == ["a.png", "b.JPG", "sub/c.tiff"]


def test_a_folder_without_pictures_is_an_error(folders):
    low, high = folders(low=["readme.txt"], high=["1.png"])
    with pytest.raises(BenchmarkError, match="no pictures") as error:
        pair_by_name(low, high)
    assert str(low) in str(error.value)


def test_unpaired_sets_list_their_pictures_and_refuse_two_of_one_name(folders, tmp_path):
    (low,) = folders(low=["2.jpg", "1.bmp"])
    assert [(str(p.name), p.high) for p in BenchmarkSet("LIME", low).pairs()] == [("1.bmp", None), ("2.jpg", None)]
    (low / "2.png").touch()
    with pytest.raises(BenchmarkError, match=r"2\.jpg and 2\.png"):
        BenchmarkSet("LIME", low).pairs()


def test_absent_sets_differ_from_half_present_ones(folders, tmp_path):
    (low,) = folders(low=["1.png"])
    with pytest.raises(BenchmarkAbsent, match="no folder"):
        BenchmarkSet("X", tmp_path / "nowhere", tmp_path / "neither").pairs()
    with pytest.raises(BenchmarkError, match="neither") as error:
        BenchmarkSet("X", low, tmp_path / "neither").pairs()
    assert not isinstance(error.value, BenchmarkAbsent)


def test_configured_sets_resolve_below_the_project_and_unknown_names_list_what_exists():
    config = Config()
    sets = {s.name: s for s in benchmark_sets(config)}
    assert list(sets) == ["LOLv1", "LOLv2_real", "LOLv2_synthetic", "LSRW_Huawei", "LSRW_Nikon",
                          "DICM", "LIME", "NPE", "MEF", "VV"]
    assert sets["LOLv2_real"].high == PROJECT_ROOT / "dataset/LOL-v2/Real_captured/Test/Normal"
    assert sets["DICM"].high is None
    assert [s.name for s in benchmark_sets(config, ["VV", "LOLv1", "VV"])] == ["VV", "LOLv1"]
    with pytest.raises(BenchmarkError, match="LOLv9.*LOLv1, LOLv2_real"):
        benchmark_sets(config, ["LOLv9"])
