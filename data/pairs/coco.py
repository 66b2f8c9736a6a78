"""The photos of a COCO annotation file, through pycocotools, read once and remembered.

pycocotools takes 20 s and 2.7 GB for the 450 MB of instances_train2017.json, in every process that asks. Training needs
nothing of it but which photos there are, so that list is kept in a small cache file, read in milliseconds.
"""
from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import os
import tempfile
from collections.abc import Collection
from pathlib import Path

from data.files.folders import normal_form
from data.pairs.errors import EXPECTED_TREE, DataError
from exp_config.config import Config
from exp_config.places import user_cache

log = logging.getLogger(__name__)

CACHE_VERSION = 2


def coco_photos(folder: Path, annotations: Path, ids: Collection[int] | None = None) -> list[tuple[int, Path]]:
    """(image id, path) of the photos that `annotations` (an `instances_*.json`) names and `folder` holds, sorted by id.

    `ids` keeps only those images. Photos that the file names and the folder lacks are left out, with one counted
    warning. Raises DataError for a missing or unreadable file, for ids that the file does not have, and where no
    photo is left.
    """
    images = image_list(annotations)
    if ids is not None:
        unknown = sorted(set(ids) - {image_id for image_id, _ in images})
        if unknown:
            raise DataError(f"{len(unknown)} of the {len(set(ids))} wanted image ids are not in {annotations}, "
                            f"such as {unknown[:5]}")
        wanted = set(ids)
        images = [image for image in images if image[0] in wanted]
    places = _Places(folder)
    there = [places.of(name) for _, name in images]
    absent = [name for (_, name), place in zip(images, there, strict=True) if place is None]
    photos = [(image_id, place) for (image_id, _), place in zip(images, there, strict=True) if place is not None]
    if not photos:
        raise DataError(f"none of the {len(images)} photos named in {annotations} is in {folder} "
                        f"(looked for {', '.join(absent[:3])}). Expected in the project folder:\n{EXPECTED_TREE}")
    if absent:
        log.warning("%d of the %d photos named in %s are not in %s and are left out, such as %s",
                    len(absent), len(images), annotations, folder, ", ".join(absent[:3]))
    return photos


class _Places:
    """Where the photos are that an annotation file names. Each folder is listed once: a look at every single one of 118,287
    names takes minutes on a network's disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._listed: dict[str, dict[str, str]] = {}  # folder -> names as asked for -> names in it

    def of(self, name: str) -> Path | None:
        """The file of that name; else the one whose name is the same text in another Unicode form."""
        below, _, last = name.rpartition("/")
        if below not in self._listed:
            try:
                names = [entry.name for entry in os.scandir(self.folder / below)]
            except OSError:
                names = []
            self._listed[below] = {normal_form(found): found for found in names} | {found: found for found in names}
        listed = self._listed[below]
        found = listed.get(last) or listed.get(normal_form(last))
        return None if found is None else self.folder / below / found


def image_list(annotations: Path) -> list[tuple[int, str]]:
    """(image id, file name) of every image in a COCO annotation file, sorted by id; from the cache if it is fresh."""
    try:
        status = annotations.stat()
    except OSError:
        raise DataError(f"no COCO annotation file at {annotations}. Expected in the project folder:\n{EXPECTED_TREE}\n"
                        "Without annotations set coco_train_annotations and coco_val_annotations to null: "
                        "then every photo of the folder is used") from None
    key = {"version": CACHE_VERSION, "path": str(annotations.resolve()), "size": status.st_size,
           "mtime": status.st_mtime_ns}
    name = f"{annotations.stem}-{hashlib.blake2b(os.fsencode(key['path']), digest_size=6).hexdigest()}.json"
    for folder in cache_folders():
        images = _read_cache(folder / name, key)
        if images is not None:
            return images
    images = _read_annotations(annotations)
    for folder in cache_folders():
        if _write_cache(folder / name, key, images):
            break
    else:
        log.warning("the image list of %s could not be kept in any of %s; each start reads the whole file again",
                    annotations, ", ".join(str(f) for f in cache_folders()))
    return images


def cache_folders() -> list[Path]:
    """Where image lists are kept: below dataset/, or, where that cannot be written, in the user's cache folder."""
    own = user_cache()
    return [Config.path("dataset/.cache"), *([] if own is None else [own])]


def _read_annotations(annotations: Path) -> list[tuple[int, str]]:
    from pycocotools.coco import COCO

    coco = COCO()
    try:
        coco.dataset = json.loads(annotations.read_bytes().decode("utf-8-sig"))  # a byte order mark is no part of it
        with contextlib.redirect_stdout(io.StringIO()):  # it prints "creating index..."
            coco.createIndex()
        images = sorted((_number(image["id"], annotations), _below(str(image["file_name"]), annotations))
                        for image in coco.loadImgs(coco.getImgIds()))
    except DataError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{annotations} is not a COCO annotation file ({type(error).__name__}: {error}); expected JSON "
                        'with an "images" list of {"id": .., "file_name": ..}') from None
    if not images:
        raise DataError(f"{annotations} names no image")
    return images


def _number(image_id: object, annotations: Path) -> int:
    """An image's id; digits in quotes will do."""
    try:
        return int(image_id)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        raise DataError(f"{annotations} has an image id {image_id!r}; expected whole numbers, as COCO's are (with "
                        "coco_*_annotations=null every photo of the folder is used, and no ids are needed)") from None


def _below(name: str, annotations: Path) -> str:
    """A photo's name below its folder; Windows' \\ between folders is /, whatever this machine is."""
    name = name.replace("\\", "/")
    if name.startswith("/") or ".." in name.split("/"):
        raise DataError(f"{annotations} names a photo {name!r}; expected names below the folder of photos")
    return name


def _read_cache(path: Path, key: dict) -> list[tuple[int, str]] | None:
    """The list kept in `path` when it was made from the file that `key` describes, else None."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["key"] == key:
            return [(int(image_id), str(name)) for image_id, name in content["images"]]
    except (OSError, ValueError, KeyError, TypeError):
        pass  # absent, or damaged: the list is read from its source again
    return None


def _write_cache(path: Path, key: dict, images: list[tuple[int, str]]) -> bool:
    """Write atomically (several ranks may do so at once); False where the folder cannot be written."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".tmp", delete=False, encoding="utf-8") as file:
            temporary = file.name
            json.dump({"key": key, "images": images}, file)
        os.replace(temporary, path)
        return True
    except OSError:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        return False
