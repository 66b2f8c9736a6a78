"""torch.compile takes the whole training call as one graph: nothing in it waits for the host or falls back to Python."""
import copy

import pytest
import torch

from exp_config import Config
from models import HVR


def test_training_call_is_one_graph_with_the_same_loss_and_gradients():
    torch.manual_seed(0)
    model = HVR.from_config(Config()).train()
    x = torch.rand(1, 3, 8, 16) * 2 - 1
    state = model.initial_state(x)
    losses, gradients = [], []
    plain = copy.deepcopy(model)
    # fullgraph: a graph break raises. The backend runs the captured operators, so no compiler is needed.
    for network, parameters in ((plain, plain), (torch.compile(model, backend="eager", fullgraph=True), model)):
        _, out = network(x, state)
        loss = (out - x).square().mean()
        loss.backward()
        losses.append(loss.item())
        gradients.append(torch.cat([p.grad.flatten() for p in parameters.parameters()]))
    torch._dynamo.reset()
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert (gradients[1] - gradients[0]).norm() <= 1e-3 * gradients[0].norm()
