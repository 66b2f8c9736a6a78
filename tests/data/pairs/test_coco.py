"""The list of images of a COCO annotation file: read by pycocotools once, then from the cache."""
from __future__ import annotations

import json
import logging
import os
import pwd
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from data.pairs import coco
from data.pairs.coco import coco_photos, image_list
from data.pairs.errors import DataError


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(coco, "cache_folders", lambda: [tmp_path / "cache"])
    return tmp_path / "cache"


@pytest.fixture
def annotations(tmp_path):
    path = tmp_path / "instances.json"
    write(path, {1: "a.jpg", 2: "b.jpg"})
    return path


def write(path, images):
    path.write_text(json.dumps({"images": [{"id": i, "file_name": n, "width": 1} for i, n in images.items()],
                                "annotations": [], "categories": []}))


def no_reader(*_):
    raise AssertionError("read again")


def test_the_file_is_read_once(annotations, cache, monkeypatch, capsys):
    expected = [(1, "a.jpg"), (2, "b.jpg")]
    assert image_list(annotations) == expected
    assert capsys.readouterr().out == ""  # pycocotools prints, this does not
    monkeypatch.setattr(coco, "_read_annotations", no_reader)
    assert image_list(annotations) == expected
    assert len(list(cache.iterdir())) == 1


def test_a_folder_whose_name_is_no_text(annotations, cache):
    folder = annotations.parent / os.fsdecode(b"old \xe4")
    folder.mkdir()
    moved = annotations.rename(folder / "instances.json")
    assert image_list(moved) == image_list(moved) == [(1, "a.jpg"), (2, "b.jpg")] and len(list(cache.iterdir())) == 1


def test_a_changed_file_is_read_again(annotations, cache):
    image_list(annotations)
    write(annotations, {5: "c.jpg", 3: "d.jpg"})
    assert image_list(annotations) == [(3, "d.jpg"), (5, "c.jpg")]
    before = annotations.stat()
    write(annotations, {6: "c.jpg", 4: "d.jpg"})  # as long, another time
    os.utime(annotations, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert image_list(annotations) == [(4, "d.jpg"), (6, "c.jpg")]
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"key": 1}', b"\xff\xfe"])
def test_a_damaged_cache_is_replaced(annotations, cache, monkeypatch, damage):
    image_list(annotations)
    [file] = cache.iterdir()
    file.write_bytes(damage)
    assert image_list(annotations) == [(1, "a.jpg"), (2, "b.jpg")]
    monkeypatch.setattr(coco, "_read_annotations", no_reader)
    assert len(image_list(annotations)) == 2


def test_the_users_cache_folder_serves_where_the_first_cannot_be_written(annotations, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(coco, "cache_folders", lambda: [tmp_path / "file" / "cache", tmp_path / "user"])
    image_list(annotations)
    monkeypatch.setattr(coco, "_read_annotations", no_reader)
    assert len(image_list(annotations)) == 2


def test_without_any_cache_the_list_is_still_read_with_a_warning(annotations, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(coco, "cache_folders", lambda: [tmp_path / "file" / "cache"])
    with caplog.at_level(logging.WARNING):
        assert len(image_list(annotations)) == 2
    assert "each start reads the whole file again" in caplog.text


def test_two_processes_at_once_leave_a_whole_cache(annotations, cache):
    code = ("import sys; from pathlib import Path; from data.pairs import coco\n"
            "coco.cache_folders = lambda: [Path(sys.argv[2])]\n"
            "images = coco.image_list(Path(sys.argv[1]))\n"
            "for _ in range(20): coco._write_cache(Path(sys.argv[2]) / 'list.json', {'k': 1}, images)")
    command = [sys.executable, "-c", code, str(annotations), str(cache)]
    both = [subprocess.Popen(command, cwd=Path(coco.__file__).parents[2]) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert coco._read_cache(cache / "list.json", {"k": 1}) == [(1, "a.jpg"), (2, "b.jpg")]
    assert not list(cache.glob("*.tmp"))


def test_absent_photos_are_counted_in_one_warning(annotations, cache, tmp_path, caplog):
    (tmp_path / "b.jpg").touch()
    with caplog.at_level(logging.WARNING):
        assert coco_photos(tmp_path, annotations) == [(2, tmp_path / "b.jpg")]
    [record] = caplog.records
    assert "1 of the 2 photos" in record.getMessage() and "a.jpg" in record.getMessage()


def test_file_names_may_hold_folders(cache, tmp_path):
    write(tmp_path / "list.json", {1: "a/1.jpg", 2: "a/2.jpg"})
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "2.jpg").touch()
    assert coco_photos(tmp_path, tmp_path / "list.json") == [(2, tmp_path / "a" / "2.jpg")]


def test_no_photo_left_is_an_error(annotations, cache, tmp_path):
    with pytest.raises(DataError, match=r"none of the 2 photos .*a\.jpg, b\.jpg(.|\n)*dataset/coco/train2017"):
        coco_photos(tmp_path, annotations)


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", '{"annotations": []}', '{"images": [{"id": 1}], "annotations": []}',
                                     '{"images": [], "annotations": []}'])
def test_what_is_no_annotation_file_is_refused(cache, tmp_path, content):
    path = tmp_path / "strange.json"
    path.write_text(content)
    with pytest.raises(DataError, match="strange.json"):
        image_list(path)


def test_a_missing_annotation_file_shows_the_expected_tree(cache, tmp_path):
    with pytest.raises(DataError, match=r"gone\.json(.|\n)*dataset/coco/annotations"):
        image_list(tmp_path / "gone.json")


def test_a_byte_order_mark_and_ids_in_quotes(cache, tmp_path):
    path = tmp_path / "list.json"
    path.write_text(json.dumps({"images": [{"id": "07", "file_name": "a.jpg"}, {"id": 3, "file_name": "b.jpg"}]}),
                    encoding="utf-8-sig")
    assert image_list(path) == [(3, "b.jpg"), (7, "a.jpg")]


@pytest.mark.parametrize("image_id", ["a1", None, [1]])
def test_ids_that_are_no_numbers_are_named(cache, tmp_path, image_id):
    (tmp_path / "list.json").write_text(json.dumps({"images": [{"id": image_id, "file_name": "a.jpg"}]}))
    with pytest.raises(DataError, match="list.json"):
        image_list(tmp_path / "list.json")


def test_names_of_another_system(cache, tmp_path):
    """Windows' backslash, and a name in the other Unicode form, in the list as on the disk."""
    composed, decomposed = "Nächte é", unicodedata.normalize("NFD", "Nächte é")
    write(tmp_path / "list.json", {1: f"a\\{composed}.jpg", 2: f"{decomposed}.jpg", 3: "both é.jpg"})
    (tmp_path / "a").mkdir()
    files = [tmp_path / "a" / f"{decomposed}.jpg", tmp_path / f"{composed}.jpg", tmp_path / "both é.jpg"]
    for file in [*files, tmp_path / unicodedata.normalize("NFD", "both é.jpg")]:
        file.touch()
    assert coco_photos(tmp_path, tmp_path / "list.json") == list(enumerate(files, start=1))


@pytest.mark.parametrize("name", ["/etc/a.jpg", "../a.jpg", "a\\..\\..\\b.jpg"])
def test_names_that_leave_the_folder(cache, tmp_path, name):
    write(tmp_path / "list.json", {1: name})
    with pytest.raises(DataError, match="expected names below the folder of photos"):
        image_list(tmp_path / "list.json")


def test_lists_that_people_have(shared, cache):
    lists = shared / "cases/coco_json"
    assert [name for _, name in image_list(lists / "bom.json")][0] == "img é 000.jpg"
    assert [name for _, name in image_list(lists / "back.json")][0] == "ночь 夜/img é 000.jpg"
    with pytest.raises(DataError, match=r"strid.json has an image id 'a1'; expected whole numbers"):
        image_list(lists / "strid.json")


def test_without_a_home_folder(annotations, tmp_path, monkeypatch, caplog):
    """As a service runs: a number for a user, no HOME. The list is read, and one warning says that it is not kept."""
    (tmp_path / "file").write_text("in the way")
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: {}[uid])
    monkeypatch.setattr(coco.Config, "path", staticmethod(lambda _: tmp_path / "file" / "cache"))
    assert len(image_list(annotations)) == 2
    assert caplog.text.count("each start reads the whole file again") == 1
