"""Which photos a run learns from: COCO folders with their annotation files, plain folders, or several of them mixed."""
from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from data.files.folders import walk
from data.files.kinds import PHOTO_SUFFIXES, is_photo
from data.pairs.coco import coco_photos
from data.pairs.errors import EXPECTED_TREE, DataError
from exp_config.config import PROJECT_ROOT, Config


class PhotoRef(NamedTuple):
    """A photo of a training or validation set.

    `id` names it for good: COCO's number, or the path below its folder, so a folder that is moved gives the same pairs.
    """

    id: str
    path: Path


def list_photos(config: Config, train: bool) -> list[PhotoRef]:
    """The training (or validation) photos of `config`, in a fixed order: COCO by number, then the folders by path.

    Ids are unique: a photo whose id an earlier source already has gets its source's name in front. Raises DataError
    where a folder or an annotation file is missing, or where no photo is left.
    """
    split = "train" if train else "val"
    images = config.coco_train_images if train else config.coco_val_images
    annotations = config.coco_train_annotations if train else config.coco_val_annotations
    ids = config.coco_train_ids if train else config.coco_val_ids
    folders = config.train_folders if train else config.val_folders
    limit = config.max_train_photos if train else config.max_val_photos

    sources: list[tuple[str, list[PhotoRef]]] = []
    if ids is not None and (images is None or annotations is None):
        raise DataError(f"coco_{split}_ids chooses among the images of an annotation file, so coco_{split}_images and "
                        f"coco_{split}_annotations are needed with it")
    if images is not None:
        folder = existing_folder(config.path(images), f"coco_{split}_images")
        if annotations is None:
            refs = folder_photos(folder)
        else:
            found = coco_photos(folder, config.path(annotations), ids)
            refs = [PhotoRef(str(image_id), path) for image_id, path in found]
        sources.append((folder.name, refs))
    for name in folders:
        folder = existing_folder(config.path(name), f"{split}_folders")
        sources.append((folder.name, folder_photos(folder)))
    if not sources:
        raise DataError(f"no {split} photos are configured: set coco_{split}_images to a folder in the COCO layout, or "
                        f"{split}_folders to a list of folders of photos, in exp_config/config.py")
    return _unique(sources)[:limit]


def existing_folder(folder: Path, field: str) -> Path:
    """`folder` itself, or a DataError that says what to do; for COCO's it shows the expected tree."""
    if folder.is_dir():
        return folder
    missing = f"no folder of photos at {folder.resolve()} (config field {field}"
    if not field.startswith("coco_"):
        raise DataError(f"{missing}); relative paths count from the project folder {PROJECT_ROOT}")
    split = "train" if "train" in field else "val"
    raise DataError(f"{missing}). Expected in the project folder:\n{EXPECTED_TREE}\nFetch COCO 2017 (dataset/README.md), set "
                    f"{field} in exp_config/config.py, or take photos of your own:\n  --set {split}_folders='[\"path\"]' "
                    f"coco_{split}_images=null coco_{split}_annotations=null")


def folder_photos(folder: Path) -> list[PhotoRef]:
    """Every photo in `folder` and its sub-folders, sorted by path; hidden files and folders are left out."""
    found = []
    for parent, _, names in walk(folder):
        for name in names:
            path = Path(parent, name)
            if is_photo(path):
                found.append(PhotoRef(path.relative_to(folder).as_posix(), path))
    if not found:
        raise DataError(f"no photo in {folder} or its sub-folders; expected files ending in "
                        f"{' '.join(sorted(PHOTO_SUFFIXES))}, for COCO:\n{EXPECTED_TREE}")
    return sorted(found)


def _unique(sources: Iterable[tuple[str, list[PhotoRef]]]) -> list[PhotoRef]:
    """All photos of all sources in order, ids made unique without changing those of an earlier source."""
    photos: dict[str, PhotoRef] = {}
    for number, (name, refs) in enumerate(sources):
        for ref in refs:
            unique = ref.id
            if unique in photos:
                unique = f"{name}:{ref.id}"
            if unique in photos:
                unique = f"{name}#{number}:{ref.id}"
            photos[unique] = PhotoRef(unique, ref.path)
    return list(photos.values())
