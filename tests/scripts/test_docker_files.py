"""The dockerfile without a docker engine: lint, every path and every Python command in it, and what the image receives."""
from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from fnmatch import fnmatchcase
from importlib.metadata import version
from pathlib import Path, PurePosixPath

import pytest
from packaging.requirements import Requirement

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def instructions() -> list[tuple[str, str]]:
    """(instruction, its arguments on one line) in order, without comments."""
    text = re.sub(r"^\s*#.*\n", "", (PROJECT / "dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines if line.strip())]


def of(instructions: list[tuple[str, str]], name: str) -> list[str]:
    return [rest for instruction, rest in instructions if instruction == name]


def is_ignored(path: str) -> bool:
    """Does .dockerignore keep this path out? The last pattern that fits it, or a folder above it, decides."""
    ignored = False
    parts = PurePosixPath(path).parts
    prefixes = ["/".join(parts[: n + 1]) for n in range(len(parts))]
    for line in (PROJECT / ".dockerignore").read_text().splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        keep, pattern = pattern.startswith("!"), pattern.lstrip("!").rstrip("/")
        patterns = [pattern, pattern.removeprefix("**/")]
        depth = pattern.count("/")
        for prefix in prefixes:
            tail = PurePosixPath(prefix).name if pattern.startswith("**/") else prefix
            if any(fnmatchcase(tail, p) for p in patterns) and ("**" in pattern or prefix.count("/") == depth):
                ignored = not keep
    return ignored


def test_hadolint_finds_nothing():
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if hadolint is None:
        pytest.skip("hadolint is not installed (requirements-dev.txt brings it)")
    result = subprocess.run([hadolint, "--no-color", "dockerfile"], cwd=PROJECT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def test_the_base_image_is_official_pinned_and_new_enough(instructions):
    (argument,) = of(instructions, "ARG")
    name, image = argument.split("=", 1)
    assert of(instructions, "FROM") == [f"${{{name}}}"]
    found = re.fullmatch(r"pytorch/pytorch:(\d+\.\d+\.\d+)-cuda\d+\.\d+-cudnn\d+-runtime", image)
    assert found, image
    line = next(line for line in (PROJECT / "requirements.txt").read_text().splitlines() if line.startswith("torch>"))
    assert Requirement(line).specifier.contains(found[1])


def test_everything_copied_is_there_and_not_ignored(instructions):
    for copied in of(instructions, "COPY"):
        *sources, _ = [word for word in copied.split() if not word.startswith("--")]
        for source in sources:
            assert (PROJECT / source).exists(), source
            assert source == "." or not is_ignored(source), source


@pytest.mark.parametrize("path", ["checkpoint/config.json", "checkpoint/HVR.safetensors", "train.py", "infer_image.sh",
                                  "checkpoint/zeros/config.json", "checkpoint/zeros/HVR.safetensors",
                                  "setup_env.sh", "img/samples/rocket.jpg", "exp_config/config.py", "dataset/README.md"])
def test_the_image_gets(path):
    assert not is_ignored(path)


@pytest.mark.parametrize("path", [".git/config", ".venv/bin/python", ".env", "wandb/run/x", "results/a.png",
                                  "dataset/coco/a.jpg", "data/__pycache__/photos.pyc",
                                  "checkpoint/HVR-SSLE_short_test_1/config.json"])
def test_the_image_does_not_get(path):
    assert is_ignored(path)


def test_packages_come_in_one_layer_before_the_code_and_leave_torch_alone(instructions):
    names = [f"{name} {rest}" for name, rest in instructions]
    install = next(i for i, line in enumerate(names) if "-r /tmp/requirements/requirements.txt" in line)
    code = next(i for i, line in enumerate(names) if line.startswith("COPY") and line.endswith(" . ."))
    assert install < code
    assert sum("pip install" in line for line in names) == 1, "all packages in one layer"
    commands = [shlex.split(part) for part in names[install].removeprefix("RUN ").split("&&")]
    installs = [command for command in commands if command[1:4] == ["-m", "pip", "install"]]
    for command in installs:
        constrained = command[command.index("-c") + 1] if "-c" in command else None
        assert constrained == "/tmp/requirements/image.txt" or "--no-deps" in command
        listed = command[command.index("-r") + 1]
        assert (PROJECT / Path(listed).name).exists()


def test_python_commands_of_the_image_run(instructions):
    """Run here what the build runs there: the constraints name the torch that is installed."""
    printed = {}
    for line in of(instructions, "RUN"):
        for part in line.split("&&"):
            words = shlex.split(part)
            if words[:2] == ["python", "-c"] and "pyiqa" not in words[2]:
                printed[words[2]] = subprocess.run([sys.executable, "-c", words[2]], capture_output=True, text=True, check=True)
    constraints = next(result.stdout for code, result in printed.items() if "importlib.metadata" in code)
    assert constraints.split() == [f"torch=={version('torch')}", f"torchvision=={version('torchvision')}"]


def test_an_ordinary_user_in_the_work_folder_with_a_shell(instructions):
    names = [name for name, _ in instructions]
    (user,) = of(instructions, "USER")
    assert user not in ("0", "root") and f"--uid {user} " in " ".join(of(instructions, "RUN"))
    assert names.index("USER") > max(i for i, name in enumerate(names) if name == "RUN")
    assert of(instructions, "WORKDIR") == ["/workspace/app"]
    assert of(instructions, "CMD") == ['["bash"]'] and not of(instructions, "ENTRYPOINT")


def test_the_scripts_set_nothing_up_in_the_image(instructions):
    assert any("HVR_SKIP_SETUP=1" in rest for rest in of(instructions, "ENV"))
