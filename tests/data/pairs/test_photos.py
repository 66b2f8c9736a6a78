"""Which photos a configuration means, and what is said where there are none."""
from __future__ import annotations

import json

import cv2
import pytest

from data.pairs import coco
from data.pairs.errors import DataError
from data.pairs.photos import list_photos
from exp_config.config import PROJECT_ROOT, Config


@pytest.fixture(autouse=True)
def cache_in_tmp(tmp_path, monkeypatch):
    monkeypatch.setattr(coco, "cache_folders", lambda: [tmp_path / "cache"])


@pytest.fixture
def fill(make_photo):
    def write(folder, *names):
        for number, name in enumerate(names):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(folder / name), make_photo(8, 8, number))
        return str(folder)
    return write


def only_folders(*folders, **settings):
    return Config(coco_train_images=None, coco_val_images=None, train_folders=list(folders), **settings)


def annotate(path, *images):
    path.write_text(json.dumps({"images": [{"id": i, "file_name": name} for i, name in images], "annotations": []}))
    return str(path)


def test_a_folder_gives_its_photos_and_those_below_sorted_by_path(fill, tmp_path):
    folder = fill(tmp_path / "a", "z.jpg", "b/x.PNG", "b/c/y.jpeg", ".hidden.jpg", ".git/x.jpg")
    (tmp_path / "a" / "notes.txt").write_text("no photo")
    photos = list_photos(only_folders(folder), True)
    assert [photo.id for photo in photos] == ["b/c/y.jpeg", "b/x.PNG", "z.jpg"]
    assert [photo.path for photo in photos] == [tmp_path / "a" / photo.id for photo in photos]


def test_a_moved_folder_keeps_its_ids(fill, tmp_path):
    ids = [[p.id for p in list_photos(only_folders(fill(tmp_path / place, "1.jpg", "s/2.jpg")), True)] for place in "ab"]
    assert ids[0] == ids[1]


def test_sources_are_mixed_with_unique_ids_and_the_first_keeps_its_own(fill, tmp_path):
    folders = [fill(tmp_path / name, "1.jpg", "2.jpg") for name in ("home", "x/trip", "y/trip")]
    alone, mixed = list_photos(only_folders(folders[0]), True), list_photos(only_folders(*folders), True)
    assert mixed[:2] == alone
    assert [p.id for p in mixed] == ["1.jpg", "2.jpg", "trip:1.jpg", "trip:2.jpg", "trip#2:1.jpg", "trip#2:2.jpg"]
    assert len({p.path for p in mixed}) == 6


def test_coco_and_folders_are_mixed(fill, tmp_path):
    images, folder = fill(tmp_path / "coco", "000.jpg", "001.jpg", "002.jpg"), fill(tmp_path / "own", "a.jpg")
    annotations = annotate(tmp_path / "list.json", (42, "002.jpg"), (7, "000.jpg"))
    config = Config(coco_train_images=images, coco_train_annotations=annotations, train_folders=[folder])
    assert [(p.id, p.path.name) for p in list_photos(config, True)] == [("7", "000.jpg"), ("42", "002.jpg"), ("a.jpg", "a.jpg")]
    assert [p.id for p in list_photos(Config(coco_val_images=images, coco_val_annotations=annotations, max_val_photos=1), False)
            ] == ["7"]
    assert len(list_photos(Config(coco_train_images=images, coco_train_annotations=None), True)) == 3


def test_a_subset_of_coco_ids(fill, tmp_path):
    images = fill(tmp_path / "coco", "0.jpg", "1.jpg", "2.jpg")
    annotations = annotate(tmp_path / "list.json", (0, "0.jpg"), (1, "1.jpg"), (2, "2.jpg"))
    config = Config(coco_train_images=images, coco_train_annotations=annotations, coco_train_ids=[2, 0])
    assert [p.id for p in list_photos(config, True)] == ["0", "2"]
    config.coco_train_ids = [2, 9]
    with pytest.raises(DataError, match=r"1 of the 2 wanted image ids are not in .*list.json.*\[9\]"):
        list_photos(config, True)
    config.coco_train_annotations = None
    with pytest.raises(DataError, match="coco_train_ids chooses among the images of an annotation file"):
        list_photos(config, True)


def test_the_first_so_many_photos(fill, tmp_path):
    folder = fill(tmp_path / "a", "1.jpg", "2.jpg", "3.jpg")
    assert [p.id for p in list_photos(only_folders(folder, max_train_photos=2), True)] == ["1.jpg", "2.jpg"]


def test_a_missing_folder_of_coco_is_named_with_the_expected_tree_and_the_way_around(tmp_path):
    with pytest.raises(DataError) as error:
        list_photos(Config(coco_val_images=str(tmp_path / "gone")), False)
    for text in (str(tmp_path / "gone"), "coco_val_images", "dataset/coco/train2017", "instances_train2017.json",
                 """--set val_folders='["path"]' coco_val_images=null coco_val_annotations=null"""):
        assert text in str(error.value)
    with pytest.raises(DataError, match="train_folders=.* coco_train_images=null coco_train_annotations=null"):
        list_photos(Config(coco_train_images=str(tmp_path / "gone")), True)


def test_a_missing_plain_folder_is_named_without_coco(tmp_path):
    with pytest.raises(DataError) as error:
        list_photos(only_folders("../no such/./place"), True)
    assert str(error.value) == (f"no folder of photos at {PROJECT_ROOT.parent}/no such/place (config field train_folders); "
                                f"relative paths count from the project folder {PROJECT_ROOT}")


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"no photo in .*\.jpg"):
        list_photos(only_folders(str(tmp_path)), True)


def test_no_source_is_an_error_that_names_the_fields():
    with pytest.raises(DataError, match="coco_val_images .* val_folders"):
        list_photos(only_folders(), False)


def test_the_development_set_is_read(shared):
    photos = shared / "photos"
    config = Config(coco_train_images=str(photos / "train2017"), coco_val_images=str(photos / "val2017"),
                    coco_train_annotations=str(photos / "annotations" / "instances_train2017.json"),
                    coco_val_annotations=str(photos / "annotations" / "instances_val2017.json"))
    assert [len(list_photos(config, train)) for train in (True, False)] == [1382, 100]
