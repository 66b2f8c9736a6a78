"""Which of the configured photos and benchmark sets are on this machine: `python -m data.check [NAME ...]`.

A set is found, incomplete (what is missing is said) or absent. File headers are read, pictures are not decoded.
"""
from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from PIL import Image

from data.benchmarks import BenchmarkAbsent, BenchmarkError, BenchmarkSet, Pair, benchmark_sets, list_pictures
from data.files.folders import normal_form
from data.files.signatures import what_it_is
from data.pairs.coco import image_list
from data.pairs.errors import DataError
from exp_config import Config, ConfigError, load_config
from exp_config.streams import open_standard_streams

State = Literal["found", "incomplete", "absent"]

PAIRS = {"LOLv1": 15, "LOLv2_real": 100, "LOLv2_synthetic": 100, "LSRW_Huawei": 30, "LSRW_Nikon": 20}
PICTURES = {"DICM": (64, 69), "LIME": (10,), "NPE": (8, 84, 85), "MEF": (17,), "VV": (24,)}  # of the editions around
COCO = {"train2017": 118_287, "val2017": 5_000}
_NAMED = 3  # files that a line spells out


@dataclass(frozen=True)
class Finding:
    """What was found of one set; `details` is a phrase for the reader."""

    name: str
    state: State
    details: str


def check(config: Config, names: Sequence[str] = ()) -> list[Finding]:
    """Findings on all sets of `config`, or on those named. Raises DataError for a name that is not configured."""
    checks = dict(_checks(config))
    unknown = [name for name in names if name not in checks]
    if unknown:
        raise DataError(f"{', '.join(unknown)} not in the config; it has: {', '.join(checks)}")
    return [checks[name]() for name in names or checks]


def _checks(config: Config) -> Iterable[tuple[str, Callable[[], Finding]]]:
    """Every configured set's name and how it is looked at."""
    for split in ("train", "val"):
        images, annotations = getattr(config, f"coco_{split}_images"), getattr(config, f"coco_{split}_annotations")
        if images is not None:
            name, file = f"coco_{split}", None if annotations is None else config.path(annotations)
            ids = getattr(config, f"coco_{split}_ids")
            yield name, partial(check_photos, name, config.path(images), file, ids)
        for folder in getattr(config, f"{split}_folders"):
            name = f"{split}_folders:{folder}"
            yield name, partial(check_photos, name, config.path(folder))
    for benchmark in benchmark_sets(config):
        yield benchmark.name, partial(check_benchmark, benchmark)


def check_photos(name: str, folder: Path, annotations: Path | None = None,
                 ids: Collection[int] | None = None) -> Finding:
    """A folder of training or validation photos, and the COCO annotation file that says which of them are meant (of
    those, the images `ids` where they are given)."""
    missing = [f"no folder {folder}"] * (not folder.is_dir())
    missing += [f"no file {annotations}"] * (annotations is not None and not annotations.is_file())
    if missing:
        absent = len(missing) == 1 + (annotations is not None)
        return Finding(name, "absent" if absent else "incomplete", ", ".join(missing))
    present = list_pictures(folder)
    if annotations is None:
        state: State = "found" if present else "incomplete"
        empty = _empty(folder / path for path in present)
        if empty:
            return Finding(name, "incomplete", f"{len(empty):,} of the {len(present):,} photos in {folder} are empty files: "
                           f"{_some(empty)}")
        return Finding(name, state, f"{len(present):,} photos in {folder}" if present else f"no photos in {folder}")
    try:
        images = dict(image_list(annotations))
    except DataError as error:
        return Finding(name, "incomplete", str(error))
    chosen = None if ids is None else set(ids)
    unknown = sorted((chosen or set()) - images.keys())
    if unknown:
        return Finding(name, "incomplete", f"image ids that {annotations} does not have: {_some(list(map(str, unknown)))}")
    wanted = [file for image_id, file in images.items() if chosen is None or image_id in chosen]
    there = {normal_form(path.as_posix()) for path in present}
    lacking = [file for file in wanted if normal_form(file) not in there]
    if lacking:
        return Finding(name, "incomplete", f"{len(wanted) - len(lacking):,} of the {len(wanted):,} photos that "
                       f"{annotations} names are in {folder}; missing: {_some(lacking)}")
    empty = _empty(folder / file for file in wanted)
    if empty:
        return Finding(name, "incomplete", f"{len(empty):,} of the {len(wanted):,} photos are empty files: {_some(empty)}")
    whole = COCO.get(folder.name, len(wanted))
    note = "" if len(wanted) == whole else f" (the whole of COCO {folder.name} has {whole:,})"
    return Finding(name, "found", f"{len(wanted):,} photos in {folder}{note}")


def check_benchmark(benchmark: BenchmarkSet) -> Finding:
    """A benchmark set: its folders, its pairs, their number and sizes."""
    try:
        pairs = benchmark.pairs()
    except BenchmarkError as error:
        text = str(error).removeprefix(f"{benchmark.name}: ")
        return Finding(benchmark.name, "absent" if isinstance(error, BenchmarkAbsent) else "incomplete", text)
    problems = _header_problems(pairs)
    count, unit = len(pairs), "pictures" if benchmark.high is None else "pairs"
    if benchmark.high is not None and count != PAIRS.get(benchmark.name, count):
        problems.insert(0, f"{count} pairs, expected {PAIRS[benchmark.name]}")
    usual = PICTURES.get(benchmark.name, (count,))
    if benchmark.high is None and count < min(usual):
        problems.insert(0, f"{count} pictures, expected {' or '.join(map(str, usual))}")
    if problems:
        return Finding(benchmark.name, "incomplete", f"{'; '.join(problems)}; in {benchmark.low}")
    note = "" if count in usual or benchmark.high is not None else f" (editions have {' or '.join(map(str, usual))})"
    return Finding(benchmark.name, "found", f"{count} {unit} in {benchmark.low}{note}")


def _header_problems(pairs: Iterable[Pair]) -> list[str]:
    """Files that are no pictures, and pairs of different size (the sides of a turned picture may be swapped)."""
    broken: list[str] = []
    empty: list[str] = []
    different: list[str] = []
    for pair in pairs:
        sizes = []
        for path in [pair.low] + ([pair.high] if pair.high else []):
            try:
                if path.stat().st_size == 0:
                    empty.append(str(path))
                    continue
                with Image.open(path) as image:
                    sizes.append(image.size)
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
                broken.append(_is(path))
        if len(sizes) == 2 and sorted(sizes[0]) != sorted(sizes[1]):
            different.append(f"{pair.low} ({sizes[0][0]}x{sizes[0][1]}) and {pair.high} ({sizes[1][0]}x{sizes[1][1]})")
    lists = (("empty files", empty), ("no readable pictures", broken), ("different sizes", different))
    return [f"{what}: {_some(files)}" for what, files in lists if files]


def _empty(files: Iterable[Path]) -> list[str]:
    """Those of zero bytes, as a download that broke off leaves them."""
    found = []
    for file in files:
        with suppress(OSError):
            if file.stat().st_size == 0:
                found.append(str(file))
    return found


def _is(path: Path) -> str:
    """`path`, and what its first bytes show where that is no picture."""
    with suppress(OSError), open(path, "rb") as file:
        found = what_it_is(file.read(4096))
        return str(path) if found is None else f"{path} ({found.partition(';')[0]})"
    return str(path)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m data.check", description="Say which of the configured photos and "
                                     "benchmark sets are on this machine.", epilog="Exit status: 0 all of them are found, "
                                     "1 some are incomplete or absent, 2 wrong usage.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these: coco_train, coco_val, LOLv1, ...")
    parser.add_argument("--config_path", default="exp_config/config.py", help="as for train.py (default: %(default)s)")
    parser.add_argument("--config_name", help="as for train.py (default: Config)")
    parser.add_argument("--exp_name", help="as for train.py (default: default)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each set; returns the exit status."""
    options = _parse_arguments(arguments)
    logging.basicConfig(format="%(message)s")
    try:
        findings = check(load_config(options.config_path, options.config_name, options.exp_name), options.names)
    except (ConfigError, DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        print(f"{finding.state:<10}  {finding.name:<{width}}  {finding.details}")
    complete = all(finding.state == "found" for finding in findings)
    if not complete:
        print("dataset/README.md shows the expected folders and where the sets come from; their paths are coco_* and "
              "eval_dataset in the config")
    return 0 if complete else 1


if __name__ == "__main__":
    open_standard_streams()
    sys.exit(main())
