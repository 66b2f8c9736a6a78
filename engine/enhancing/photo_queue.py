"""Photos decoded ahead: while a device computes some, threads read the next ones, and those of one size are put together."""
from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from data.files.images import Photo, read_photo
from engine.enhancing.job_plan import Task
from engine.sharing import SharedWork

DECODERS = 2  # threads, and photos that wait in memory, where they are not put together
MOST = 16     # photos put together, however small they are

Taken = tuple[int, Future[Photo]]  # number of a task, and its photo, read or failed


def photo_groups(tasks: Sequence[Task], work: SharedWork, max_megapixels: float, together: float = 0) -> Iterator[list[Taken]]:
    """The photos of `tasks` that this process is to enhance, in groups; the photos of a group have been taken, so that no
    other process does them.

    together: a group holds photos of one size and type, so many pixels in all; 0, or a larger photo: one each.
    """
    with ThreadPoolExecutor(DECODERS, "decode") as decoders:
        numbers, ahead, room = work.order(), deque[Taken](), DECODERS + 1
        try:
            while True:
                while len(ahead) < room and (number := next(numbers, None)) is not None:
                    if work.is_free(number):
                        ahead.append((number, decoders.submit(read_photo, tasks[number].source, max_megapixels)))
                if not ahead:
                    return
                first = ahead.popleft()
                if not work.take(first[0]):
                    first[1].cancel()
                    continue
                fitting = _how_many(first[1], together)
                room = DECODERS + fitting
                yield [first, *_companions(first[1], ahead, work, fitting - 1)]
        finally:
            for _, decoding in ahead:
                decoding.cancel()


def _how_many(decoding: Future[Photo], together: float) -> int:
    """Photos like this one in a group."""
    if decoding.exception() is not None or together <= 0:
        return 1
    height, width = decoding.result().pixels.shape[:2]
    return min(max(int(together // (height * width)), 1), MOST)


def _companions(decoding: Future[Photo], ahead: deque[Taken], work: SharedWork, most: int) -> list[Taken]:
    """Take up to `most` of the photos ahead that are as large and deep as this one; the others stay in their order."""
    found: list[Taken] = []
    for candidate in list(ahead):
        if len(found) == most:
            break
        number, other = candidate
        if other.exception() is None and _kind(other.result()) == _kind(decoding.result()):
            ahead.remove(candidate)
            if work.take(number):
                found.append(candidate)
    return found


def _kind(photo: Photo) -> tuple[object, ...]:
    return photo.pixels.shape, photo.pixels.dtype
