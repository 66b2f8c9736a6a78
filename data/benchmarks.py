"""Benchmark sets: which pictures a folder holds, and which dark picture belongs to which reference.

Pictures are paired by name, never by position in a listing:

1. equal stems (`1.png` and `1.JPG`), within the same sub-folder;
2. of those left over: equal digits after a known prefix (`low00690.png` and `normal00690.png`), as LOL-v2 names them.

A picture without a partner, and a picture with two possible ones, are errors that name the files.
"""
from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data.files.folders import normal_form
from data.files.kinds import PHOTO_SUFFIXES
from data.pairs.photos import DataError, folder_photos
from exp_config import Config

# A role before a number: "low00690", "normal_00690", "High-12". Longer numbers are compared as text: 007 is not 7.
_PREFIXED_NUMBER = re.compile(r"(?:low|high|normal)[ _-]?(\d+)", re.IGNORECASE)
_NAMED_IN_ERRORS = 5  # files that an error spells out before it only counts


class BenchmarkError(ValueError):
    """A benchmark set that cannot be used; the message names the folders and files concerned."""


class BenchmarkAbsent(BenchmarkError):
    """The set's folders are not there at all."""


@dataclass(frozen=True)
class Pair:
    """A dark picture and its reference (`high` is None in unpaired sets); `name` is `low` below its set's folder."""

    name: Path
    low: Path
    high: Path | None


@dataclass(frozen=True)
class BenchmarkSet:
    """A named benchmark: a folder of dark pictures and, when it is paired, one of references."""

    name: str
    low: Path
    high: Path | None = None

    def pairs(self) -> list[Pair]:
        """The set's pictures in a fixed order. Raises BenchmarkAbsent, or BenchmarkError with what is wrong."""
        missing = [folder for folder in self.folders() if not folder.is_dir()]
        if missing:
            kind = BenchmarkError if len(missing) < len(self.folders()) else BenchmarkAbsent
            raise kind(f"{self.name}: no folder {' and no folder '.join(map(str, missing))}")
        if self.high is not None:
            return pair_by_name(self.low, self.high)
        names = list_pictures(self.low)
        if not names:
            raise BenchmarkError(f"{self.name}: no pictures in {self.low} ({_suffixes()})")
        _require_distinct_stems(names, self.low)
        return [Pair(name, self.low / name, None) for name in names]

    def folders(self) -> list[Path]:
        """The folders that must exist."""
        return [self.low] if self.high is None else [self.low, self.high]


def benchmark_sets(config: Config, names: Sequence[str] | None = None) -> list[BenchmarkSet]:
    """The sets of `config.eval_dataset`, all or those named (in that order). BenchmarkError for a name it lacks."""
    known = config.eval_dataset
    chosen = list(known) if names is None else list(dict.fromkeys(names))
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise BenchmarkError(f"unknown benchmark {', '.join(unknown)}; "
                             f"eval_dataset in the config has: {', '.join(known)}")
    return [_configured_set(name, known[name]) for name in chosen]


def _configured_set(name: str, folders: Mapping[str, str]) -> BenchmarkSet:
    high = folders.get("high")
    return BenchmarkSet(name, Config.path(folders["low"]), None if high is None else Config.path(high))


def list_pictures(folder: Path) -> list[Path]:
    """Paths, relative to `folder` and sorted, of the pictures in it and below; hidden ones are left out."""
    try:
        return [Path(photo.id) for photo in folder_photos(folder)]
    except DataError:  # none in it; what that means is for the caller to say
        return []


def pair_by_name(low: Path, high: Path) -> list[Pair]:
    """Pairs of two folders by the rules above, in the order of the dark pictures' names.

    Raises BenchmarkError that names pictures without a partner, ambiguous ones, or the folder without any.
    """
    lows, highs = list_pictures(low), list_pictures(high)
    for folder, names in ((low, lows), (high, highs)):
        if not names:
            raise BenchmarkError(f"no pictures in {folder} ({_suffixes()})")
    partner = _match(lows, highs, low, high, _stem)
    left_lows, left_highs = _unmatched(lows, highs, partner)
    partner |= _match(left_lows, left_highs, low, high, _number)
    left_lows, left_highs = _unmatched(lows, highs, partner)
    if left_lows or left_highs:
        lines = [f"{_spell(names)} of {folder}" for names, folder in ((left_lows, low), (left_highs, high)) if names]
        raise BenchmarkError(f"without a partner: {'; '.join(lines)}. Pictures are paired by equal names (any suffix), "
                             "or by equal digits after low, high or normal")
    return [Pair(name, low / name, high / partner[name]) for name in lows]


def _stem(name: Path) -> tuple[str, str]:
    """Folder and name, each in one normal form: a Mac writes é as two characters, other systems as one."""
    return normal_form(name.parent.as_posix()), normal_form(name.stem)


def _number(name: Path) -> tuple[str, str]:
    folder, stem = _stem(name)
    match = _PREFIXED_NUMBER.fullmatch(stem)
    return folder, match[1] if match else stem


def _match(lows: Iterable[Path], highs: Iterable[Path], low: Path, high: Path,
           key: Callable[[Path], tuple[str, str]]) -> dict[Path, Path]:
    """Partners with equal keys; BenchmarkError where a key that both sides have stands for two files of one side."""
    groups: tuple[dict, dict] = defaultdict(list), defaultdict(list)
    for names, group in zip((lows, highs), groups, strict=True):
        for name in names:
            group[key(name)].append(name)
    partner = {}
    for shared, candidates in groups[0].items():
        matches = groups[1].get(shared, [])
        if matches and len(candidates) + len(matches) > 2:
            raise BenchmarkError(f"ambiguous pairs: {_spell(candidates)} of {low} and {_spell(matches)} of {high} share "
                                 "one name; keep one picture of each")
        if matches:
            partner[candidates[0]] = matches[0]
    return partner


def _require_distinct_stems(names: Iterable[Path], folder: Path) -> None:
    """Results carry the stem with another suffix, so two pictures of one stem would overwrite each other."""
    first: dict[tuple[str, str], Path] = {}
    for name in names:
        if first.setdefault(_stem(name), name) != name:
            raise BenchmarkError(f"ambiguous: {first[_stem(name)]} and {name} of {folder} share one name; "
                                 "keep one of them")


def _unmatched(lows: Iterable[Path], highs: Iterable[Path],
               partner: Mapping[Path, Path]) -> tuple[list[Path], list[Path]]:
    taken = set(partner.values())
    return [name for name in lows if name not in partner], [name for name in highs if name not in taken]


def _spell(names: Sequence[Path]) -> str:
    listed = ", ".join(map(str, names[:_NAMED_IN_ERRORS]))
    return listed + (f" and {len(names) - _NAMED_IN_ERRORS} more" if len(names) > _NAMED_IN_ERRORS else "")


def _suffixes() -> str:
    return ", ".join(sorted(PHOTO_SUFFIXES))
