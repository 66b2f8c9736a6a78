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

from data.pairs.errors import EXPECTED_TREE, DataError
from exp_config.config import Config

log = logging.getLogger(__name__)

CACHE_VERSION = 1


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
    present = {entry.name for entry in os.scandir(folder)}
    there = [name in present or ("/" in name and (folder / name).is_file()) for _, name in images]
    absent = [name for (_, name), found in zip(images, there, strict=True) if not found]
    photos = [(image_id, folder / name) for (image_id, name), found in zip(images, there, strict=True) if found]
    if not photos:
        raise DataError(f"none of the {len(images)} photos named in {annotations} is in {folder} "
                        f"(looked for {', '.join(absent[:3])}). Expected in the project folder:\n{EXPECTED_TREE}")
    if absent:
        log.warning("%d of the %d photos named in %s are not in %s and are left out, such as %s",
                    len(absent), len(images), annotations, folder, ", ".join(absent[:3]))
    return photos


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
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return [Config.path("dataset/.cache"), user / "hvr-ssle"]


def _read_annotations(annotations: Path) -> list[tuple[int, str]]:
    from pycocotools.coco import COCO

    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints "loading annotations into memory..."
            coco = COCO(str(annotations))
        images = sorted((int(image["id"]), str(image["file_name"])) for image in coco.loadImgs(coco.getImgIds()))
    except (OSError, ValueError, KeyError, TypeError, AssertionError) as error:
        raise DataError(f"{annotations} is not a COCO annotation file ({type(error).__name__}: {error}); expected JSON "
                        'with an "images" list of {"id": .., "file_name": ..}') from None
    if not images:
        raise DataError(f"{annotations} names no image")
    return images


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
