"""How steady enhanced clips are, and how fast they come: on clips made from photos, of which the motion is known.

    python -m benchmarks.video --photos DIR [--size 320x216] [--frames 24] [--clips 2] [--exposure 0.06]
                               [--max_working_megapixels M] [--hvr_n_supervision N] [--ways single steady brightness state map]
    python -m benchmarks.video --photos DIR --speed 1280x720 [--frames 24]

A clip is two of DIR's photos (bright ones, larger than the size), darkened and cut behind one another, each under a window
that moves in a straight line with a hand's tremble, with a camera's noise and a lamp that goes on (benchmarks/clips.py).
Change: the mean absolute change of luma from frame to frame along that motion, in 8-bit levels, over that of the frames
enhanced one by one. The ways: `steady` is what infer_video.py does; `brightness` is it without details; `state` goes on
with the recursion's latents of the frame before; `map` smooths the local affine maps from dark to enhanced frames
(engine/enhancing/detail.py) along the motion. Cut: PSNR of the first frame after a cut, against that frame by itself, of the
clip where it is worst.
With --speed: frames a second of infer_video.py, from file to file, on a clip of that size.
"""
from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from benchmarks.clips import Clip, luma_change, make_clip
from benchmarks.recursion import SHIPPED
from data.files.images import is_photo, read_photo, to_8_bit
from engine.device import choose_device
from engine.enhancing.detail import DetailMap, fit_detail
from engine.enhancing.enhancement import add_border, cut_border, enhance
from engine.enhancing.pictures import put_rows, rows_of
from engine.enhancing.windows import small_copy
from engine.video.motion import Motion, warp
from engine.video.steadiness import BRIGHTNESS, Steady, luma, shrunk
from exp_config import PROJECT_ROOT
from metrics.psnr import psnr
from models import HVR, State, load_pretrained

Frames = list[np.ndarray]  # uint8 (H, W, 3)


def single(model: HVR, clip: Clip, megapixels: float, steps: int) -> Frames:
    """Each frame by itself."""
    return [enhance(model, frame, max_working_megapixels=megapixels, N=steps)
            for frame in tqdm(clip.frames, unit="frame", leave=False)]


def state(model: HVR, clip: Clip, steps: int) -> Frames:
    """Each frame from the latents that the one before ended with, by one supervision step; a cut, told, starts anew."""
    carried: State | None = None
    results = []
    for number, frame in enumerate(tqdm(clip.frames, unit="frame", leave=False)):
        carried = None if number in clip.cuts else carried
        dark = rows_of(frame, 0, len(frame), next(model.parameters()).device)
        x = add_border(model.to_model_range(dark), model.inference_border)
        carried, output = model.sample(x, carried, N=steps if carried is None else 1)
        bright = np.empty_like(frame)
        put_rows(bright, 0, model.to_unit_range(cut_border(output, model.inference_border)).clamp(0, 1))
        results.append(bright)
    return results


def local_map(clip: Clip, bright: Frames) -> Frames:
    """Each frame mapped by its local affine map, which is drawn towards that before along the motion."""
    motion, before, results = Motion(), None, []
    for number, (frame, result) in enumerate(zip(clip.frames, bright, strict=True)):
        dark, picture = (rows_of(pixels, 0, len(pixels), torch.device("cpu")) for pixels in (frame, result))
        copy = small_copy(dark)
        maps = fit_detail(copy, picture, torch.zeros(1)).maps[0].permute(1, 2, 0).numpy()  # (h, w, 9)
        small = luma(shrunk(result, maps.shape[1::-1]))
        if before is not None and number not in clip.cuts:
            flow, _ = motion(small, before[1])
            carried = np.dstack([warp(np.ascontiguousarray(part), flow) for part in np.dsplit(before[0], maps.shape[2])])
            maps = maps + BRIGHTNESS * (carried - maps)
        before = maps, small
        values = DetailMap(torch.from_numpy(np.ascontiguousarray(maps)).permute(2, 0, 1)[None])
        mapped = np.empty_like(frame)
        put_rows(mapped, 0, values.apply(picture, dark, frame.shape[:2], 0, 1.0))
        results.append(mapped)
    return results


def steadied(clip: Clip, bright: Frames, **shares: float) -> Frames:
    steady = Steady(**shares)
    return [steady(*pair) for pair in zip(clip.frames, bright, strict=True)]


def clips(folder: Path, size: tuple[int, int], count: int, frames: int, exposure: float) -> Iterator[Clip]:
    """`count` clips of two photos each, spread over the folder's that are large enough; photos that are neighbours by their
    names often show one scene, so the two are far from one another."""
    photos = [path for path in sorted(folder.iterdir()) if is_photo(path)]
    large = [path for path in photos if min(np.subtract(read_photo(path).pixels.shape[:2], size)) >= 0]
    if len(large) < 2 * count:
        raise SystemExit(f"{len(large)} photos of at least {size[1]}x{size[0]} in {folder}; expected {2 * count}")
    for number in range(count):
        first = number * len(large) // (2 * count)
        pair = [to_8_bit(read_photo(large[place]).pixels) for place in (first, first + len(large) // 2)]
        yield make_clip(pair, size, frames, seed=number, exposure=exposure)


def steadiness(model: HVR, made: Iterable[Clip], ways: Sequence[str], megapixels: float, steps: int) -> None:
    """Print a table."""
    rows: dict[str, list[tuple[float, float, float]]] = {}
    for clip in made:
        bright = single(model, clip, megapixels, steps)
        alone = luma_change(bright, clip)
        results: dict[str, Callable[[], Frames]] = {
            "input, darkened alone": lambda clip=clip: clip.frames, "single": lambda bright=bright: bright,
            "steady": lambda clip=clip, bright=bright: steadied(clip, bright),
            "brightness": lambda clip=clip, bright=bright: steadied(clip, bright, detail=0.0),
            "state": lambda clip=clip: state(model, clip, steps),
            "map": lambda clip=clip, bright=bright: local_map(clip, bright)}
        for name in ("input, darkened alone", *ways):
            frames = results[name]()
            cut = min(min(psnr(frames[at], bright[at]), 99.0) for at in clip.cuts)
            change = luma_change(frames, clip)
            rows.setdefault(name, []).append((change, change / alone, float(cut)))
    print("| way | change, levels | over frame by frame | cut, dB |\n|---|---|---|---|")
    for name, values in rows.items():
        (change, ratio, _), cut = np.mean(values, 0), np.min(values, 0)[2]
        told = "" if name.startswith("input") else f"{cut:.1f}" if cut < 99 else "equal"
        print(f"| {name} | {change:.2f} | {ratio:.2f} | {told} |")


def speed(options: argparse.Namespace, width: int, height: int) -> None:
    """Print frames a second of the whole program, on a clip of a panned photo."""
    import av

    photo = to_8_bit(read_photo(next(path for path in sorted(options.photos.iterdir()) if is_photo(path))).pixels)
    scale = 1.2 * max(width / photo.shape[1], height / photo.shape[0])
    photo = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    clip = make_clip([photo], (height, width), options.frames, exposure=options.exposure)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "clip.mp4")
        with av.open(str(source), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for frame in clip.frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode(None))
        given = [f"--max_working_megapixels={options.max_working_megapixels}"] if options.max_working_megapixels else []
        subprocess.run([sys.executable, PROJECT_ROOT / "infer_video.py", "--input_path", source, "--output_dir",
                        Path(folder, "out"), "--config_path", options.config_path, "--weights_path", options.weights_path,
                        "--device", options.device, *given], check=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.video", description="How steady enhanced clips are, and how "
                                     "fast they come.")
    parser.add_argument("--photos", type=Path, required=True, metavar="DIR", help="bright photos")
    parser.add_argument("--size", default="320x216", metavar="WxH", help="of the clips for steadiness")
    parser.add_argument("--speed", metavar="WxH", help="measure frames a second instead, on a clip of this size")
    parser.add_argument("--frames", type=int, default=24, help="of each of a clip's two photos")
    parser.add_argument("--clips", type=int, default=2, help="so many, of two photos each")
    parser.add_argument("--exposure", type=float, default=0.06, help="share of the light that is left")
    parser.add_argument("--max_working_megapixels", type=float, default=0.0, metavar="M", help="as of infer_video.py")
    parser.add_argument("--hvr_n_supervision", type=int, default=1, metavar="N", help="of the frames for "
                        "steadiness; infer_video.py takes 1 on a CPU")
    parser.add_argument("--ways", nargs="+", default=("single", "steady"), metavar="WAY", help="what to measure",
                        choices=("single", "steady", "brightness", "state", "map"))
    parser.add_argument("--config_path", default=SHIPPED / "config.json", metavar="FILE", help="of the weights")
    parser.add_argument("--weights_path", default=SHIPPED / "HVR.safetensors", metavar="FILE", help="a safetensors file")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    options = parser.parse_args(arguments)
    width, height = map(int, (options.speed or options.size).split("x"))
    if options.speed:
        return speed(options, width, height)
    model = load_pretrained(options.config_path, options.weights_path, choose_device(options.device))
    made = clips(options.photos, (height, width), options.clips, options.frames, options.exposure)
    steadiness(model, made, options.ways, options.max_working_megapixels, options.hvr_n_supervision)


if __name__ == "__main__":
    main()
