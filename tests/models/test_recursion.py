"""The recursion: order of the steps, any size, deterministic latents, training steps."""
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from exp_config import Config
from models import HVR, State
from models.hvr import pad_to_multiple, step_sequence
from models.latents import truncated_normal


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return HVR.from_config(Config()).eval()


@pytest.mark.parametrize("TCN, expected", [
    ((2, 2, 2), "LLHLLH" * 2), ((1, 1, 1), "LH"), ((3, 2, 1), "LLLHLLLH"), ((2, 1, 0), "LLH"),
    ((0, 3, 0), "LHHH"), ((3, 0, 0), "LLLH"), ((0, 2, 2), "LH"), ((2, 0, 2), "LH"), ((0, 0, 0), "LH"),
])
def test_step_sequence(TCN, expected):
    assert step_sequence(*TCN) == expected


def test_negative_steps_are_refused():
    with pytest.raises(ValueError, match="0 or more"):
        step_sequence(2, -1, 1)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 2), (7, 8), (13, 5)])
def test_any_size(model, size):
    x = torch.rand(1, 3, *size) * 2 - 1
    state, out = model.sample(x)
    assert out.shape == x.shape and state.zH.shape == (1, 24, *size) and out.isfinite().all()


@given(st.integers(1, 20), st.integers(1, 20))
@settings(max_examples=30, deadline=None)
def test_padding_keeps_the_picture_and_reflects_where_it_can(h, w):
    image = torch.arange(h * w, dtype=torch.float32).reshape(1, 1, h, w)
    padded = pad_to_multiple(image, 8)
    assert padded.shape[-1] % 8 == 0 == padded.shape[-2] % 8 and torch.equal(padded[..., :h, :w], image)
    if w >= 2 and padded.shape[-1] > w:
        mirrored = -w % 8 < w
        assert padded[0, 0, 0, w] == (image[0, 0, 0, w - 2] if mirrored else image[0, 0, 0, w - 1])


def test_picture_does_not_depend_on_batch_or_order(model):
    x = torch.rand(3, 3, 24, 16) * 2 - 1
    single = torch.cat([model.sample(x[i : i + 1], seeds=5)[1] for i in (2, 1, 0)]).flip(0)
    together = model.sample(x, seeds=5)[1]
    assert (single - together).abs().max() * 127.5 < 0.1
    assert torch.equal(model.sample(x, seeds=5)[1], together)
    assert not torch.equal(model.sample(x, seeds=6)[1], together)


def test_state_continues_where_it_stopped(model):
    x = torch.rand(1, 3, 16, 24) * 2 - 1
    state, _ = model.sample(x, N=1)
    _, continued = model.sample(x, state, N=2)
    _, whole = model.sample(x, N=3)
    torch.testing.assert_close(continued, whole, atol=1e-5, rtol=0)


def test_the_mean_of_the_pictures_after_all_supervision_steps(model):
    x = torch.rand(2, 3, 17, 24) * 2 - 1
    pictures = [model.sample(x, N=n, seeds=3)[1] for n in (1, 2, 3)]
    state, mean = model.sample(x, N=3, seeds=3, average=True)
    torch.testing.assert_close(mean, (pictures[0] + pictures[1] + pictures[2]) / 3, atol=1e-5, rtol=0)
    assert (mean - pictures[2]).abs().max() > 1e-3 and all(map(torch.equal, state, model.sample(x, N=3, seeds=3)[0]))
    torch.testing.assert_close(model.sample(x, N=1, seeds=3, average=True)[1], pictures[0], atol=1e-5, rtol=0)
    seen = []
    model.sample(x, N=3, average=True, on_step=lambda kind, state: seen.append(kind))
    assert "".join(seen) == step_sequence(model.T, model.C, 3)                    # who watches sees all steps all the same


@pytest.mark.parametrize("T, C, N", [(0, 2, 0), (2, 0, 0), (2, 2, 0), (0, 3, 4), (1, 0, 2)])
def test_the_mean_of_a_single_supervision_step_is_its_picture(model, T, C, N):
    x = torch.rand(1, 3, 8, 16) * 2 - 1
    torch.testing.assert_close(model.sample(x, T=T, C=C, N=N, average=True)[1], model.sample(x, T=T, C=C, N=N)[1],
                               atol=1e-5, rtol=0)


def test_on_step_sees_every_state(model):
    seen = []
    model.sample(torch.zeros(1, 3, 8, 8), T=1, C=2, N=1, on_step=lambda kind, state: seen.append((kind, type(state))))
    assert seen == [("L", State), ("H", State)] * 2


def test_latents_follow_the_truncated_normal():
    z = truncated_normal(torch.arange(4), 100_000)
    assert z.abs().max() <= 1
    assert z.mean().abs() < 0.005 and z.std().item() == pytest.approx(0.5396, abs=0.005)  # of normal(0, 1) in [-1, 1]
    c = torch.corrcoef(z)
    assert (c - torch.eye(4)).abs().max() < 0.02                       # seeds are independent of one another
    lag = (z[:, 1:] * z[:, :-1]).mean() / z.var()
    assert lag.abs() < 0.01                                            # and neighbours are
    quantiles = torch.quantile(z.flatten(), torch.tensor([0.25, 0.75]))
    expected = torch.distributions.Normal(0, 1).icdf(0.1587 + 0.6827 * torch.tensor([0.25, 0.75]))
    torch.testing.assert_close(quantiles, expected, atol=0.01, rtol=0)


def test_latents_depend_on_the_seed_alone():
    seeds = torch.tensor([7, 1, 2**31 - 1])
    z = truncated_normal(seeds, 999)
    assert torch.equal(z[1:2], truncated_normal(seeds[1:2], 999))
    assert torch.equal(z[:, :50], truncated_normal(seeds, 50))


def test_generator_and_seeds_are_explicit(model):
    x = torch.zeros(2, 3, 8, 8)
    a = model.initial_state(x, generator=torch.Generator().manual_seed(1))
    b = model.initial_state(x, generator=torch.Generator().manual_seed(1))
    assert torch.equal(a.zL, b.zL) and not torch.equal(a.zL[0], a.zL[1]) and not torch.equal(a.zH, a.zL)
    before = torch.get_rng_state()
    model.initial_state(x, seeds=torch.tensor([3, 4]))
    assert torch.equal(before, torch.get_rng_state())                  # the global stream is left alone


def test_zero_latents():
    model = HVR.from_config(Config(z_distribution="zeros"))
    assert not any(z.any() for z in model.initial_state(torch.ones(1, 3, 8, 8)))


@pytest.mark.parametrize("settings_", [{}, {"z_dims": 8, "embed_dims": 12, "swin_num_heads": [2, 1],
                                            "swin_depths": [1, 3]},
                                       {"normalize_one_to_one": False, "swin_window_size": 4, "hvr_t": 1, "hvr_c": 3}])
def test_training_steps_lower_the_loss(settings_):
    torch.manual_seed(0)
    model = HVR.from_config(Config(**settings_))
    photo = torch.nn.functional.interpolate(torch.rand(2, 3, 4, 4), size=16, mode="bilinear")
    x, y = model.to_model_range(photo * 0.2), model.to_model_range(photo)
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=1e-3), []
    for _ in range(8):
        state = model.initial_state(x, seeds=torch.arange(2))
        for _ in range(2):
            state, out = model(x, state)
            loss = (out - y).abs().mean()
            optimizer.zero_grad()
            loss.backward()
            assert all(p.grad is not None for p in model.parameters())
            optimizer.step()
            state = state.detach()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_group_count_changes_the_function_but_no_shape():
    torch.manual_seed(0)
    two, four = HVR.from_config(Config()).eval(), HVR.from_config(Config(unet_num_groups=4)).eval()
    four.load_state_dict(two.state_dict())
    x = torch.rand(1, 3, 16, 16)
    assert (two.sample(x)[1] - four.sample(x)[1]).abs().max() > 1e-3


def test_nothing_that_follows_from_the_settings_is_saved(model):
    assert not [k for k in model.state_dict() if "masks" in k or "index" in k or "coordinates" in k]


def test_scale_colours_changes_the_answer_to_colours_alone():
    torch.manual_seed(0)
    model = HVR.from_config(Config())
    gray, colour = torch.full((1, 3, 4, 4), 0.3), torch.randn(1, 3, 4, 4)
    colour -= colour.mean(1, keepdim=True)
    red_blue = (colour[:, :1] - colour[:, 2:]) / 2 * torch.tensor([1.0, 0.0, -1.0])[:, None, None]
    bias, embed = model.embed_layer.embedding.bias[:, None, None], model.embed_layer
    before = [embed(part) - bias for part in (gray, red_blue, colour - red_blue)]
    model.scale_colours(2.5, 6.0)
    for part, answer, gain in zip((gray, red_blue, colour - red_blue), before, (1.0, 2.5, 6.0), strict=True):
        torch.testing.assert_close(embed(part) - bias, gain * answer, atol=1e-5, rtol=1e-5)
    weight = embed.embedding.weight.detach().clone()
    model.scale_colours(1.0, 1.0)
    assert torch.equal(embed.embedding.weight, weight)
