"""The learning rate equals the published one and behaves at the edges."""
import re

import pytest

from engine.training.schedule import learning_rate
from exp_config import Config


def test_equals_golden_values(golden_json):
    cases = golden_json("lr_schedule.json")
    for name, expected in cases.items():
        given = dict(re.findall(r"(\w+)=([^,]+)", name))
        config = Config(epochs=int(given["epochs"]), lr_cosine_cycles=int(given["cycles"]),
                        lr_cosine_warmup_rate=float(given["warmup_rate"]), lr_scaling_factor=float(given["scaling"]),
                        learning_rate=float(given["lr"]), learning_rate_min=float(given["min"]))
        assert [learning_rate(config, epoch) for epoch in range(config.epochs)] == pytest.approx(expected, rel=1e-12)
    assert len(cases) == 3


def test_static():
    config = Config(learning_rate_static=True, epochs=7)
    assert {learning_rate(config, epoch) for epoch in range(7)} == {5e-4}


@pytest.mark.parametrize("epochs", [1, 2, 3, 5, 7, 11])
@pytest.mark.parametrize("cycles", [1, 2, 3])
@pytest.mark.parametrize("warmup_rate", [0.0, 0.3, 1.0])
def test_any_length(epochs, cycles, warmup_rate):
    """Every epoch has a rate between the minimum and the peak; the first cycle reaches the peak."""
    if cycles > epochs:
        pytest.skip("more cycles than epochs is refused by the config")
    config = Config(epochs=epochs, lr_cosine_cycles=cycles, lr_cosine_warmup_rate=warmup_rate, lr_scaling_factor=0.5)
    rates = [learning_rate(config, epoch) for epoch in range(epochs)]
    assert all(0 < rate <= config.learning_rate for rate in rates)
    assert max(rates[: epochs // cycles]) == pytest.approx(config.learning_rate)


def test_epoch_outside():
    with pytest.raises(ValueError, match="epoch 3 of a run of 3"):
        learning_rate(Config(epochs=3), 3)
