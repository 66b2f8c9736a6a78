"""The GPU kernels compute what the plain modules do: under Triton's interpreter, in a process of its own."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="needs Triton, which PyTorch brings on Linux")

PROJECT = Path(__file__).resolve().parents[4]
TOLERANCE = {  # of ||found - expected|| / ||expected||
    "swin_shifted": 2e-6, "swin_unshifted": 2e-6, "swin_small_window": 2e-6, "swin_float16": 1e-3, "swin_bfloat16": 8e-3,
    "gradients_shifted": 3e-5, "gradients_unshifted_small": 3e-5,
    "norm_gradients": 1e-6, "norm_gradients_wide": 1e-6, "conv_block": 1e-5,
    "norm": 1e-6, "norm_large_mean": 2e-5, "norm_bfloat16": 4e-3, "pool": 0, "upsample": 1e-6,
    "conv_limit_1": 1e-6, "conv_limit_400": 1e-6, "conv_limit_600": 1e-6,
    "float32_zH": 1e-5, "float32_zL": 1e-5, "float32_picture": 1e-5,
    "bfloat16_zH": 3e-2, "bfloat16_zL": 2e-2, "bfloat16_picture": 2e-2,
}


@pytest.fixture(scope="module")
def results(golden):
    command = [sys.executable, Path(__file__).with_name("triton_interpreted.py"), golden / "hvr_random_weights.safetensors"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=os.environ | {"PYTHONPATH": str(PROJECT)})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("case", TOLERANCE)
def test_same_function(results, case):
    assert results[case]["error"] <= TOLERANCE[case]


def test_writes_where_it_should(results):
    assert results["swin_float16"]["in_place"] and not results["swin_shifted"]["in_place"]
    assert results["norm_large_mean"]["rest_untouched"] and results["upsample"]["rest_untouched"]


def test_on_step_sees_float32_states(results):
    assert results["on_step"]["seen"] == [["L", "torch.float32"], ["H", "torch.float32"]] * 2


def test_first_check_finds_wrong_weights(results):
    assert results["first_check"]["right"] == ""
    assert "an H step is off by" in results["first_check"]["wrong"]


def test_first_check_finds_wrong_gradients(results):
    assert results["gradient_check"]["right"] == ""
    assert "the gradient of x is off by 0.01" in results["gradient_check"]["wrong"]


def test_first_check_finds_wrong_norm_gradients(results):
    found = results["norm_gradient_check"]
    assert found["right"] == found["right_bfloat16"] == ""
    assert "is off by" in found["wrong"]
