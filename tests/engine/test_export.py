"""The ONNX file is the same function under onnxruntime, at any size and batch."""
import pytest
import torch

from engine.export import ExportError, export_onnx
from exp_config import Config
from models import HVR


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    net = HVR.from_config(Config()).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return net


@pytest.fixture(scope="module")
def session(model, tmp_path_factory):
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package)
    runtime = pytest.importorskip("onnxruntime")
    path = tmp_path_factory.mktemp("onnx") / "models" / "hvr.onnx"
    export_onnx(model, path, T=1, C=1, N=1)
    assert [p.name for p in path.parent.iterdir()] == ["hvr.onnx"]  # weights inside, nothing left over
    return runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("batch, height, width", [(1, 40, 56), (3, 33, 17), (1, 9, 72), (1, 16, 16)])
def test_equal_to_torch(model, session, batch, height, width):
    image = torch.rand(batch, 3, height, width)
    state = model.initial_state(image, seeds=torch.arange(batch))
    given = {"image": image.numpy(), "zH": state.zH.numpy(), "zL": state.zL.numpy()}
    found = session.run(["enhanced", "zH_out", "zL_out"], given)
    (zH, zL), out = model.sample(model.to_model_range(image), state, T=1, C=1, N=1)
    for a, b in zip(found, (model.to_unit_range(out), zH, zL), strict=True):
        torch.testing.assert_close(torch.from_numpy(a), b, atol=1e-4, rtol=0)


def test_missing_package_is_named(model, monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ExportError, match="pip install onnx onnxscript"):
        export_onnx(model, tmp_path / "hvr.onnx")
    assert not list(tmp_path.iterdir())
