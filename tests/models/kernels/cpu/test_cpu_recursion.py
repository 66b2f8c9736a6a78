"""The CPU kernels are the same function as the plain modules and as the transcription of the formulas."""
import pytest
import torch
from safetensors.torch import load_file

from exp_config import Config
from models import HVR, State
from models.kernels import choice
from models.kernels.cpu import library
from models.kernels.cpu.recursion import Recursion
from models.weights import load_state
from tests.models.reference import Reference

pytestmark = pytest.mark.skipif(library.compiler() is None, reason="the kernels need a C++ compiler")

SETTINGS = {  # name: (settings, height, width)
    "published": ({}, 40, 72),
    "one_window": ({}, 8, 8),
    "one_row_of_windows": ({}, 8, 48),
    "one_column_of_windows": ({}, 72, 8),
    "many_bands_wide": ({}, 96, 152),
    "other_sizes": ({"z_dims": 16, "embed_dims": 8, "unet_init_features": 12, "unet_num_groups": 3, "swin_depths": [1, 3],
                     "swin_num_heads": [2, 4], "swin_mlp_ratio": 3.0}, 24, 40),
    "sigmoid_head": ({"normalize_one_to_one": False, "z_dims": 12, "swin_num_heads": [1, 6]}, 16, 24),
}


def network(**settings) -> HVR:
    """A network whose every parameter matters: fresh weights shaken, norms included."""
    torch.manual_seed(0)
    model = HVR.from_config(Config(**settings)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


@pytest.fixture(scope="module")
def published(golden):
    net = HVR.from_config(Config())
    load_state(net, load_file(golden / "hvr_random_weights.safetensors"), "golden")
    return net.eval()


@pytest.fixture
def plain(monkeypatch):
    """A switch: after `plain()` the formulas compute everything."""
    return lambda: monkeypatch.setattr(choice, "library", lambda: None)


def inputs(model: HVR, B: int, H: int, W: int) -> tuple[torch.Tensor, State]:
    x = torch.rand(B, 3, H, W, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return x, model.initial_state(x, seeds=torch.arange(B))


@torch.no_grad()
@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("steps", ["L", "H"])
def test_a_step_equals_the_modules(name, steps):
    settings, H, W = SETTINGS[name]
    model = network(**settings)
    x, state = inputs(model, 2, H, W)
    recursion = choice.recursion(model, x)
    assert isinstance(recursion, Recursion)
    found, picture = recursion.enhance(iter(state), steps)
    expected, plain_picture = model.plain(x).enhance(state, steps)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, atol=2e-5, rtol=2e-5)
    torch.testing.assert_close(picture, plain_picture, atol=2e-5, rtol=0)


@torch.no_grad()
def test_extreme_logit_scales_take_the_true_maximum(published):
    model = network()
    for module in model.modules():
        if hasattr(module, "logit_scale"):
            module.logit_scale.copy_(torch.linspace(0, 6, 4).view(4, 1, 1))  # the last two are beyond the clamp at ln 100
    x, state = inputs(model, 1, 24, 24)
    found, _ = choice.recursion(model, x).run(state, "H")
    torch.testing.assert_close(found, model.plain(x).run(state, "H").zH, atol=1e-4, rtol=1e-4)


def test_sampling_equals_the_transcription(published):
    x, state = inputs(published, 2, 45, 61)
    assert choice.fast_recursion(published, x) is None  # gradients are on here; `sample` turns them off
    (zH, zL), out = published.sample(x, state)
    expected = Reference(dict(published.named_parameters())).sample(x, *state)
    for a, b in zip((zH, zL, out), expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=0)


def test_sampling_does_not_change_what_it_was_given(published):
    x, state = inputs(published, 1, 16, 16)
    before = x.clone(), state.zH.clone(), state.zL.clone()
    published.sample(x, state)
    assert all(torch.equal(a, b) for a, b in zip((x, *state), before, strict=True))


@pytest.mark.parametrize("threads", [1, 3])
def test_the_same_bits_whatever_the_threads_and_the_batch(published, threads):
    x, state = inputs(published, 2, 72, 40)
    before = torch.get_num_threads()
    _, together = published.sample(x, state)
    try:
        torch.set_num_threads(threads)
        alone = [published.sample(x[b : b + 1], State(*(z[b : b + 1] for z in state)))[1] for b in range(2)]
    finally:
        torch.set_num_threads(before)
    assert torch.equal(together, torch.cat(alone))


def test_new_weights_are_seen_at_once(published):
    model = network()
    x, state = inputs(model, 1, 16, 16)
    first = model.sample(x, state)[1]
    model.head_layer.embedding.bias.data += 1  # leaves no trace in the tensor's version
    assert not torch.allclose(model.sample(x, state)[1], first)


def test_steps_are_seen_as_they_are_taken(published):
    x, state = inputs(published, 1, 16, 24)
    seen = []
    published.sample(x, state, on_step=lambda kind, state: seen.append((kind, state)))
    assert "".join(kind for kind, _ in seen) == "LLHLLHLLHLLH"
    assert not torch.equal(seen[0][1].zL, seen[1][1].zL)
    assert torch.equal(seen[0][1].zH, state.zH) and torch.equal(seen[1][1].zL, seen[2][1].zL)


def test_training_call_equals_the_plain_one(published, plain):
    x, state = inputs(published, 2, 16, 24)
    published.train()
    (_, zL), out = published(x, state)
    plain()
    (_, zL_plain), out_plain = published(x, state)
    published.eval()
    assert out.requires_grad
    torch.testing.assert_close(out, out_plain, atol=2e-5, rtol=0)
    torch.testing.assert_close(zL, zL_plain, atol=2e-5, rtol=0)


def test_what_the_kernels_do_not_know_runs_as_plain_modules(published):
    x, _ = inputs(published, 1, 16, 16)
    with torch.no_grad():
        assert choice.fast_recursion(published, x) is not None
        assert choice.fast_recursion(published, x.double()) is None
        assert choice.fast_recursion(network(swin_window_size=4), x) is None
        assert choice.fast_recursion(network(z_dims=20, swin_num_heads=[4, 2], swin_depths=[1, 1]), x) is None  # 5 a head
        with torch.autocast("cpu", torch.bfloat16):
            assert choice.fast_recursion(published, x) is None


@torch.no_grad()
@pytest.mark.parametrize("lanes", [4, 16])
def test_other_vector_widths(published, lanes, tmp_path):
    """What other processors run, on this one's instructions."""
    path = library.build(tmp_path, ("-O0", *library.FLAGS[1:], f"-DHVR_LANES={lanes}"))
    assert path is not None
    lib = library.load(path)
    assert lib.hvr_lanes() == lanes
    x, state = inputs(published, 1, 40, 56)
    found = Recursion(published.tensors(), published.sizes, x, lib).run(state, "LH")
    for a, b in zip(found, choice.recursion(published, x).run(state, "LH"), strict=True):
        torch.testing.assert_close(a, b, atol=5e-5, rtol=0)
