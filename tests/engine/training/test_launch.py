"""Starts that cannot give what was asked for are refused with what to type instead."""
import json
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState

from engine.training.launch import (
    LaunchError,
    _explain,
    asked_processes,
    check_accelerate_variables,
    check_process_count,
    start_accelerator,
)
from engine.training.session import run_training


@pytest.mark.parametrize(("environ", "launcher", "asked"), [
    ({}, ["bash"], 1),
    ({}, [], 1),
    ({"WORLD_SIZE": "4"}, [], 4),
    ({"OMPI_COMM_WORLD_SIZE": "3"}, [], 3),
    ({}, ["python", "/bin/accelerate", "launch", "--cpu", "--num_processes", "2", "train.py"], 2),
    ({}, ["python", "/bin/accelerate-launch", "--num_processes=8", "train.py"], 8),
    ({}, ["python", "/bin/accelerate", "launch", "train.py"], 1),
    ({}, ["python", "/bin/accelerate", "launch", "--num_processes"], 1),
    ({}, ["python", "other.py", "--num_processes", "2"], 1),
])
def test_asked(environ, launcher, asked):
    assert asked_processes(environ, launcher) == asked


def test_all_there():
    """Both calls return; with a process fewer they raise (see below)."""
    assert check_process_count(2, 2, {}) is check_process_count(1, 1, {"WORLD_SIZE": "1"}) is None


@pytest.mark.parametrize(("environ", "words"), [
    ({}, "accelerate launch starts a single process on a machine without GPU"),
    ({"WORLD_SIZE": "2"}, "there is no GPU here"),
])
def test_fewer_than_asked(environ, words):
    with pytest.raises(LaunchError, match=f"2 processes were asked for.*{words}.*ACCELERATE_USE_CPU=true torchrun"):
        check_process_count(1, 2, environ)


def test_occupied_port(monkeypatch):
    monkeypatch.setenv("MASTER_PORT", "29512")
    text = _explain(RuntimeError("The server socket has failed to listen on any local network address. EADDRINUSE"))
    assert "port 29512" in text and "--main_process_port" in text


def test_fp16_needs_a_gpu(tiny_config, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    AcceleratorState._reset_state(reset_partial_state=True)
    with pytest.raises(LaunchError, match="fp16.*needs a GPU"):
        start_accelerator(tiny_config(autocast_dtype="fp16"))
    AcceleratorState._reset_state(reset_partial_state=True)


def losses_of(config) -> list[dict[str, float]]:
    """What a training reports, without its speed."""
    AcceleratorState._reset_state(reset_partial_state=True)
    run_training(config)
    AcceleratorState._reset_state(reset_partial_state=True)
    (run,) = Path(config.checkpoint_dir).iterdir()
    lines = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "images_per_second"} for line in lines]


def test_the_config_decides_on_every_number(tiny_config, tmp_path, monkeypatch, caplog):
    """Whatever `accelerate config` has left in the environment."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    wanted = losses_of(tiny_config(epochs=1, gradient_accumulation_steps=2, checkpoint_dir=str(tmp_path / "a")))
    assert "has no effect" not in caplog.text
    for name, value in (("GRADIENT_ACCUMULATION_STEPS", "4"), ("MIXED_PRECISION", "bf16"), ("DYNAMO_BACKEND", "EAGER"),
                        ("GRADIENT_CLIPPING", "0.1"), ("DYNAMO_MODE", "default"), ("DEBUG_MODE", "1")):
        monkeypatch.setenv(f"ACCELERATE_{name}", value)
    found = losses_of(tiny_config(epochs=1, gradient_accumulation_steps=2, checkpoint_dir=str(tmp_path / "b")))
    assert found == wanted
    for name, field in (("GRADIENT_ACCUMULATION_STEPS=4", "gradient_accumulation_steps"), ("DYNAMO_BACKEND=EAGER", "compile"),
                        ("MIXED_PRECISION=bf16", "autocast_dtype"), ("GRADIENT_CLIPPING=0.1", "max_grad_norm")):
        assert caplog.text.count(f"ACCELERATE_{name} has no effect: {field} in the config decides") == 1


def test_what_accelerate_launch_sets_of_itself_is_no_warning(tiny_config, caplog):
    check_accelerate_variables(tiny_config(autocast_dtype="bf16"), {
        "ACCELERATE_MIXED_PRECISION": "no", "ACCELERATE_DYNAMO_BACKEND": "no", "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "1"})
    check_accelerate_variables(tiny_config(autocast_dtype="bf16"), {"ACCELERATE_MIXED_PRECISION": "bf16"})
    assert not caplog.records


@pytest.mark.parametrize("name", ["DEEPSPEED", "FSDP", "MEGATRON_LM", "PARALLELISM_CONFIG"])
def test_other_ways_to_train_are_refused_by_name(tiny_config, monkeypatch, name):
    monkeypatch.setenv(f"ACCELERATE_USE_{name}", "true")
    with pytest.raises(LaunchError, match=f"ACCELERATE_USE_{name}=true asks for .*unset ACCELERATE_USE_{name}"):
        start_accelerator(tiny_config())
