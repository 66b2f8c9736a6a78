"""One training step: deep supervision, accumulation, clipping, non-finite values, mixed precision."""
from __future__ import annotations

import itertools

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import nn

from data.pairs.loading import build_loader
from engine.processes import Processes
from engine.training.ema import WeightAverage
from engine.training.meter import LossMeter
from engine.training.step import SupervisedStep
from losses.total import TotalLoss
from models import HVR


class Recorder(torch.optim.SGD):
    """Plain gradient descent that keeps each step's gradients."""

    def __init__(self, parameters, lr: float):
        super().__init__(parameters, lr=lr)
        self.gradients: list[list[torch.Tensor]] = []

    def step(self, closure=None):
        self.gradients.append([p.grad.clone() for group in self.param_groups for p in group["params"]])
        return super().step()


@pytest.fixture
def make_step(tiny_config):
    """`make_step(lr, precision, average, **config)` -> (step, its optimizer, config): the same weights every time."""

    def make(lr=0.01, precision="no", average=None, **changes):
        AcceleratorState._reset_state(reset_partial_state=True)
        config = tiny_config(**changes)
        torch.manual_seed(0)
        accelerator = Accelerator(cpu=True, mixed_precision=precision)
        model = HVR.from_config(config)
        recorder = Recorder(model.parameters(), lr)
        network, optimizer = accelerator.prepare(model, recorder)
        step = SupervisedStep(accelerator, model, network, optimizer, TotalLoss(config.loss_weight),
                              supervision_steps=config.hvr_n_supervision, max_grad_norm=config.max_grad_norm,
                              progressive_steps=config.hvr_n_progressive, change_weight=config.change_weight,
                              average=None if average is None else WeightAverage(model, average))
        return step, recorder, config

    return make


def batches(config, count):
    loader = build_loader(config, True)
    loader.batch_sampler.set_epoch(0)
    return [batch for batch, _ in zip(loader, range(count), strict=False)]


def test_deep_supervision_is_the_loop_of_the_paper(make_step):
    """N optimizer steps on a batch, the states carried detached, against the loop written out by hand."""
    step, recorder, config = make_step(hvr_n_supervision=3, max_grad_norm=0.0)
    batch = batches(config, 1)[0]
    torch.manual_seed(0)
    model = HVR.from_config(config)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    loss = TotalLoss(config.loss_weight)
    low, normal = (batch[name].float() / 255 * 2 - 1 for name in ("low", "normal"))
    state = model.initial_state(low, seeds=batch["state_seed"])
    totals = []
    for _ in range(3):
        state, output = model(low, state)
        total, _ = loss(output, normal, low)
        total.backward()
        optimizer.step()
        optimizer.zero_grad()
        state = state.detach()
        totals.append(float(total.detach()))
    values = step([batch]).mean(0)
    assert len(recorder.gradients) == 3
    assert float(values[0]) == pytest.approx(sum(totals) / 3, rel=1e-6)
    for mine, theirs in zip(step.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-7)


def test_progressive_steps_go_before_those_that_are_trained(make_step):
    """Training begins at the state that so many supervision steps of the same weights lead to; their number varies."""
    step, recorder, config = make_step(hvr_n_supervision=1, hvr_n_progressive=2, lr=0.0)
    plain, _, _ = make_step(hvr_n_supervision=1, lr=0.0)
    found = set()
    for batch in batches(config, 4):
        low = batch["low"].float() / 255 * 2 - 1
        before = int(batch["state_seed"][0]) % 3
        state = plain.model.initial_state(low, seeds=batch["state_seed"])
        if before:
            state, _ = plain.model.sample(low, state, N=before)
        _, output = plain.model(low, state)
        expected, _ = plain.loss(output, batch["normal"].float() / 255 * 2 - 1, low)
        assert float(step([batch])[0, 0]) == pytest.approx(float(expected.detach()), rel=1e-4)
        found.add(before)
    assert len(found) > 1                # of 0, 1 and 2
    assert len(recorder.gradients) == 4  # N for each batch, whatever went before


@pytest.mark.parametrize("untrained", [0, 2])
def test_what_later_steps_change_is_added_to_their_loss(make_step, untrained):
    """Against the pictures of the steps before, written out by hand; a photo's first step has nothing to compare with."""
    weight, settings = 3.0, {"hvr_n_supervision": 2, "hvr_n_progressive": 2, "lr": 0.0, "max_grad_norm": 0.0}
    step, recorder, config = make_step(change_weight=weight, **settings)
    plain, without, _ = make_step(**settings)
    batch = next(batch for batch in batches(config, 8) if int(batch["state_seed"][0]) % 3 == untrained)
    low = batch["low"].float() / 255 * 2 - 1
    rows, plain_rows = step([batch]), plain([batch])
    change = rows[:, step.names.index("change")]
    assert "change" not in plain.names
    torch.testing.assert_close(rows[:, 0], plain_rows[:, 0] + weight * change)
    pictures = [plain.model.sample(low, plain.model.initial_state(low, seeds=batch["state_seed"]), N=number)[1]
                for number in range(max(untrained, 1), untrained + 3)]
    if untrained == 0:
        assert float(change[0]) == 0.0
        expected = [0.0, float((pictures[1] - pictures[0]).abs().mean())]
    else:
        expected = [float((after - before).abs().mean()) for before, after in itertools.pairwise(pictures)]
    assert change.tolist() == pytest.approx(expected, rel=1e-3)
    same = [all(map(torch.equal, mine, theirs)) for mine, theirs in zip(recorder.gradients, without.gradients, strict=True)]
    assert same == [untrained == 0, False]


@pytest.mark.parametrize("k", [2, 3])
def test_accumulation_is_exact(make_step, k):
    """k micro-batches of 2 give the gradients of one batch of 2k at every supervision step, and the same values."""
    small, of_small, config = make_step(batch_size=2)
    large, of_large, large_config = make_step(batch_size=2 * k)
    parts, whole = batches(config, k), batches(large_config, 1)
    assert [i for batch in parts for i in batch["image_id"]] == whole[0]["image_id"]
    torch.testing.assert_close(small(parts), large(whole), rtol=1e-5, atol=1e-6)
    assert len(of_small.gradients) == len(of_large.gradients) == config.hvr_n_supervision == 2
    for mine, theirs in zip(of_small.gradients, of_large.gradients, strict=True):
        for a, b in zip(mine, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=5e-6)  # the same sums in another order


def test_clipping(make_step):
    """The norm that is reported is the one before clipping; what the optimizer gets has at most max_grad_norm."""
    free, of_free, config = make_step(max_grad_norm=0.0, lr=0.0)
    clipped, of_clipped, _ = make_step(max_grad_norm=0.1, lr=0.0)
    batch = batches(config, 1)
    norm = nn.utils.get_total_norm
    assert float(free(batch)[0, -1]) == pytest.approx(float(clipped(batch)[0, -1]), rel=1e-5)
    assert float(free(batch)[0, -1]) > 0.1
    assert float(norm(of_clipped.gradients[0])) == pytest.approx(0.1, rel=1e-3)
    assert float(norm(of_free.gradients[0])) > 0.1


def test_bf16(make_step):
    """Autocast on the CPU: near the float32 values, and really computed in bf16."""
    exact, _, config = make_step()
    half, _, _ = make_step(precision="bf16")
    batch = batches(config, 1)
    a, b = exact(batch).mean(0), half(batch).mean(0)
    assert a[0] != b[0]
    torch.testing.assert_close(a[:-1], b[:-1], rtol=0.05, atol=0.01)


def test_average_follows_every_optimizer_step(make_step):
    """Twice per batch of N = 2; decay (1 + t) / (10 + t) while that is below the one asked for."""
    step, recorder, config = make_step(average=0.15)
    weights = [[p.detach().clone() for p in step.model.parameters()]]
    original = recorder.step

    def step_and_keep(closure=None):
        original(closure)
        weights.append([p.detach().clone() for p in step.model.parameters()])

    recorder.step = step_and_keep
    step(batches(config, 1))
    assert step.average.updates == 2
    with step.average.applied():
        averaged = [p.detach().clone() for p in step.model.parameters()]
    for mine, start, first, last in zip(averaged, *weights, strict=True):
        after_one = start + (1 - 1 / 10) * (first - start)
        torch.testing.assert_close(mine, after_one + (1 - 0.15) * (last - after_one))
    for now, last in zip(step.model.parameters(), weights[-1], strict=True):
        assert torch.equal(now, last)


def test_a_skipped_step_leaves_the_average_alone(make_step):
    """fp16 scaling tells through `step_was_skipped` that the weights are what they were."""
    step, _, config = make_step(average=0.5)
    type(step.optimizer).step_was_skipped, before = property(lambda _self: True), type(step.optimizer).step_was_skipped
    try:
        step(batches(config, 1))
    finally:
        type(step.optimizer).step_was_skipped = before
    assert (step.skipped, step.average.updates) == (2, 0)


# --- the meter ---

@pytest.fixture
def meter():
    return LossMeter(("loss", "grad_norm"), torch.device("cpu"))


@pytest.fixture
def ranks():
    return Processes()


def test_meter_means(meter, ranks):
    meter.add(torch.tensor([[0.5, 2.0], [1.5, 2.0]]), 1, ["a"])
    meter.add(torch.tensor([[3.0, 4.0], [3.0, 4.0]]), 2, ["b"])
    assert meter.problem() is None
    assert meter.read(ranks) == {"loss": 4.0, "grad_norm": 6.0, "count": 2.0}
    assert meter.read(ranks)["count"] == 0


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_meter_names_the_first_bad_step(meter, ranks, bad):
    """And the first bad supervision step's values: the gradient went wrong before the loss did."""
    meter.add(torch.tensor([[1.0, 2.0], [1.0, 2.0]]), 7, ["fine"])
    meter.add(torch.tensor([[0.25, bad], [bad, bad]]), 8, ["culprit", "beside"])
    meter.add(torch.tensor([[bad, bad], [bad, bad]]), 9, ["later"])
    text, loss_is_finite = meter.problem()
    assert text.startswith("step 8: loss 0.25, grad_norm ") and text.endswith("image ids: culprit, beside")
    assert loss_is_finite
    assert meter.read(ranks) == {"loss": 1.0, "grad_norm": 2.0, "count": 1.0}


def test_meter_tolerates_what_scaling_has_skipped(meter):
    meter.add(torch.tensor([[float("inf"), 1.0], [1.0, 1.0]]), 1, ["a"], tolerate=True)
    assert meter.problem() is None
