"""The ONNX file is the same function under onnxruntime, at any size and batch."""
from __future__ import annotations

import copy
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.enhancing.export import Enhancer, ExportError, export_onnx, reflected, smallest_side
from engine.program import quick_imports
from exp_config import Config
from models import HVR
from models.hvr import pad_to_multiple

DOCUMENT = Path(__file__).resolve().parents[3] / "docs/enhancing.md"


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    net = HVR.from_config(Config(swin_depths=[2], swin_num_heads=[4])).eval()  # a layer of H less: tracing takes its time
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return net


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    path = tmp_path_factory.mktemp("onnx") / "models" / "hvr.onnx"
    with quick_imports():  # tracing takes long, too, and what it makes stays
        export_onnx(model, path, T=1, C=1, N=1)
    assert [p.name for p in path.parent.iterdir()] == ["hvr.onnx"]  # weights inside, nothing left over
    return path


@pytest.fixture(scope="module")
def session(exported):
    return pytest.importorskip("onnxruntime").InferenceSession(str(exported), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("batch, height, width", [(1, 40, 56), (3, 33, 17), (1, 9, 72), (1, 16, 16)])
def test_equal_to_torch(model, session, batch, height, width):
    image = torch.rand(batch, 3, height, width)
    state = model.initial_state(image, seeds=torch.arange(batch))
    given = {"image": image.numpy(), "zH": state.zH.numpy(), "zL": state.zL.numpy()}
    found = session.run(["enhanced", "zH_out", "zL_out"], given)
    (zH, zL), out = model.sample(model.to_model_range(image), state, T=1, C=1, N=1)
    for a, b in zip(found, (model.to_unit_range(out), zH, zL), strict=True):
        torch.testing.assert_close(torch.from_numpy(a), b, atol=1e-4, rtol=0)


@pytest.mark.parametrize("average", [False, True])
def test_the_mean_of_the_steps_is_in_it(model, average):
    image = torch.rand(2, 3, 24, 17)
    state = model.initial_state(image)
    with torch.no_grad():
        found = Enhancer(copy.deepcopy(model), ["LH", "LH", "LH"], average)(image, *state)
    (zH, zL), out = model.sample(model.to_model_range(image), state, T=1, C=1, N=3, average=average)
    for a, b in zip(found, (model.to_unit_range(out), zH, zL), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=0)


def test_example_of_the_readme(exported, monkeypatch):
    monkeypatch.chdir(exported.parent)
    (example,) = [code for code in re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL) if "onnxruntime" in code]
    names: dict = {}
    exec(compile(example, str(DOCUMENT), "exec"), names)
    assert names["enhanced"].shape == names["image"].shape == (1, 3, 40, 60)
    assert np.ptp(names["enhanced"]) > 0 and 0 <= names["enhanced"].min() <= names["enhanced"].max() <= 1


@pytest.mark.parametrize("window", [2, 5, 7, 8, 16])
def test_smallest_side_of_any_window(window, monkeypatch, tmp_path):
    """From there on the padding is PyTorch's; torch.export is told of it and shown an example above it."""
    net = HVR.from_config(Config(z_dims=4, swin_num_heads=[2], swin_depths=[1], swin_window_size=window))
    smallest, multiple = smallest_side(net), net.size_multiple
    assert smallest == (9 if window == 8 else multiple + 1)
    for side in range(smallest, 3 * multiple):
        rows = torch.arange(side).view(1, 1, side, 1).expand(1, 1, side, 2 * multiple).float()
        assert torch.equal(rows.index_select(2, reflected(side, multiple)), pad_to_multiple(rows, multiple))

    def export(_, inputs, dynamic_shapes, **__):
        raise ExportError([(shape[2].min, shape[3].min) for shape in dynamic_shapes], [min(x.shape[2:]) for x in inputs])

    monkeypatch.setattr("torch.export.export", export)
    with pytest.raises(ExportError) as told:
        export_onnx(net, tmp_path / "hvr.onnx")
    bounds, examples = told.value.args
    assert bounds == [(smallest, smallest)] * 3 and min(examples) > smallest


def test_a_target_that_cannot_be_written_is_refused_before_the_work(model, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.export, "export", lambda *_, **__: pytest.fail("exported first"))
    (tmp_path / "file").touch()
    for target in (tmp_path, tmp_path / "file" / "hvr.onnx"):
        with pytest.raises(ExportError, match="cannot write"):
            export_onnx(model, target)


def test_missing_package_is_named(model, monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ExportError, match="pip install onnx onnxscript"):
        export_onnx(model, tmp_path / "hvr.onnx")
    assert not list(tmp_path.iterdir())
