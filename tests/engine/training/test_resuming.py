"""The command line that a broken-off training prints."""
from __future__ import annotations

from pathlib import Path

import pytest

from engine.training import launch
from engine.training.launch import launcher_command
from engine.training.resuming import how_to_resume, resume_command

TYPED = ["train.py", "--exp_name", "a b", "--resume_from_checkpoint", "old", "--init_weights=x", "--set", "epochs=3"]
KEPT = "train.py --exp_name 'a b' --set epochs=3 --resume_from_checkpoint /runs/x"


@pytest.mark.parametrize(("parent", "launcher"), [
    (["/env/bin/python3.12", "/env/bin/torchrun", "--nnodes", "2", "--node_rank", "0", "--nproc_per_node", "1",
      "--master_addr", "10.0.0.1", *TYPED],
     "torchrun --nnodes 2 --node_rank 0 --nproc_per_node 1 --master_addr 10.0.0.1"),
    (["/env/bin/python", "-m", "torch.distributed.run", "--nproc_per_node=2", *TYPED],
     "python -m torch.distributed.run --nproc_per_node=2"),
    (["/env/bin/python", "/env/bin/accelerate", "launch", "--num_processes", "1", *TYPED],
     "accelerate launch --num_processes 1"),
    (["accelerate-launch", "--cpu", *TYPED], "accelerate-launch --cpu"),
    (["-bash"], ""), (["srun", "python", *TYPED], ""), (["timeout", "9", "torchrun.sh", *TYPED], ""), ([], ""),
])
def test_the_launcher_as_typed(monkeypatch, parent, launcher):
    monkeypatch.setattr(launch, "_launcher_arguments", lambda: parent)
    monkeypatch.delenv("ACCELERATE_USE_CPU", raising=False)
    found = launcher_command("train.py")
    assert " ".join(found) == launcher
    wanted = f"{launcher or 'python'} {KEPT}"
    machines = " (on each machine, with its own --node_rank)" if "--node_rank" in launcher else ""
    assert how_to_resume(TYPED, Path("/runs/x"), 1, found) == f"resume with{machines}:\n  {wanted}"


def test_where_the_launcher_is_not_known(monkeypatch):
    monkeypatch.delenv("ACCELERATE_USE_CPU", raising=False)
    assert resume_command(TYPED, Path("/runs/x"), 1) == f"python {KEPT}"
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    assert resume_command(TYPED, Path("/runs/x"), 2) == f"ACCELERATE_USE_CPU=true torchrun --nproc_per_node 2 {KEPT}"
