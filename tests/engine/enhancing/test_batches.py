"""Photos that go through the network together: the same pictures as one by one, and which ones are put together."""
from __future__ import annotations

import numpy as np
import pytest
import torch

from data.files.images import Photo, read_photo, write_photo
from engine.enhancing.batches import GPU_MEGAPIXELS, Batches, batches_of
from engine.enhancing.enhancer import Enhancer
from engine.enhancing.folder_job import run_job
from engine.enhancing.job_plan import plan_job
from engine.enhancing.photo_queue import MOST, photo_groups
from engine.enhancing.settings import Settings
from engine.sharing import SharedWork
from engine.team import Team
from exp_config import Config
from models import HVR


@pytest.fixture(scope="module")
def enhancer():
    torch.manual_seed(0)
    config = Config(z_dims=8, embed_dims=8, unet_init_features=8, swin_num_heads=[2, 2], hvr_t=1, hvr_c=1)
    return Enhancer(HVR.from_config(config).eval(), config, Settings.of(config, detail=0.5, border=2, strength=0.9, seed=3))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_pictures_are_those_of_one_by_one(enhancer, make_photo, kind):
    factor = np.iinfo(kind).max // 255
    pictures = [make_photo(21, 34, seed).astype(kind) * factor // 4 for seed in range(5)]
    together = Batches(enhancer, 1e6).enhance(pictures)
    for picture, result in zip(pictures, together, strict=True):
        alone = enhancer(picture)
        assert result.dtype == kind and result.shape == alone.shape
        assert np.abs(result.astype(int) - alone).max() <= (0 if kind == np.uint8 else 2)


def test_by_default_on_a_gpu_alone(enhancer):
    assert batches_of(enhancer, None) is None and batches_of(enhancer, 0) is None
    assert batches_of(enhancer, 1.5).pixels == 1.5e6 and GPU_MEGAPIXELS > 0


@pytest.fixture
def folder(tmp_path, make_photo):
    """Small ones of two shapes and two depths, a larger one, and a broken file."""
    shapes = [(10, 20), (10, 20), (20, 10), (10, 20), (20, 10), (40, 50), (10, 20), (10, 20)]
    for number, shape in enumerate(shapes):
        write_photo(tmp_path / "in" / f"{number}.png", Photo(make_photo(*shape, number)))
    write_photo(tmp_path / "in/8.png", Photo(make_photo(10, 20, 8).astype(np.uint16) * 256))
    (tmp_path / "in/9.png").write_bytes(b"broken")
    return tmp_path / "in"


def groups(folder, pixels):
    tasks = plan_job(folder, folder.parent / "out").tasks
    work = SharedWork(Team(), "photos", len(tasks))
    return [[number for number, _ in group] for group in photo_groups(tasks, work, 10, pixels)]


def test_those_of_one_size_and_depth_are_put_together_up_to_the_budget(folder):
    assert groups(folder, 0) == groups(folder, 399) == [[n] for n in range(10)]
    many = groups(folder, 600)
    assert sorted(sum(many, [])) == list(range(10)) and max(map(len, many)) == 3
    assert all(group in ([5], [8], [9]) for group in many if {5, 8, 9} & set(group))
    assert all(len({n in (2, 4) for n in group}) == 1 for group in many)


def test_no_more_than_so_many_however_small(tmp_path, make_photo):
    for number in range(3 * MOST):
        write_photo(tmp_path / "in" / f"{number:02}.png", Photo(make_photo(4, 4, number)))
    sizes = [len(group) for group in groups(tmp_path / "in", 1e9)]
    assert max(sizes) == MOST and sum(sizes) == 3 * MOST


def test_a_folder_in_batches(folder, tmp_path, enhancer):
    calls = []

    class Watched(Batches):
        def enhance(self, pictures):
            calls.append(len(pictures))
            return super().enhance(pictures)

    summary = run_job(plan_job(folder, tmp_path / "out"), enhancer, batches=Watched(enhancer, 1000))
    assert (summary.written, len(summary.failed)) == (9, 1) and calls and max(calls) > 2
    for path in folder.glob("[0-7].png"):
        np.testing.assert_array_equal(read_photo(tmp_path / "out" / path.name).pixels, enhancer(read_photo(path).pixels))


def test_where_a_batch_fails_each_photo_is_tried_alone(folder, tmp_path, enhancer, caplog):
    class Failing(Batches):
        def enhance(self, pictures):
            raise RuntimeError("no room")

    summary = run_job(plan_job(folder, tmp_path / "out"), enhancer, batches=Failing(enhancer, 1000))
    assert (summary.written, len(summary.failed)) == (9, 1) and "no room" not in caplog.text
