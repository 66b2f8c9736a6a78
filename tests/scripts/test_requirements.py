"""The requirements files and the code agree: nothing is imported that they leave out, nothing listed that nothing needs."""
from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).resolve().parents[2]
CODE = ("train.py", "infer_image.py", "infer_video.py", "app.py", "data", "engine", "exp_config", "losses", "metrics", "models")
OPTIONAL = {"av", "pyiqa", "onnx", "onnxscript", "onnxruntime",  # asked for by name where they are missing
            "gradio", "fastapi", "uvicorn", "starlette",         # so is the page's first, which brings the others
            "triton"}                                        # comes with torch where there are NVIDIA cards
FOR_PYIQA = {"pyyaml", "requests", "huggingface-hub"}  # imported by pyiqa, which is installed without its list
FOR_SCRIPTS = {"packaging", "pyvips-binary"}                     # setup_env.sh reads versions with it; pyvips's library


def requirements(name: str) -> dict[str, Requirement]:
    lines = (line.split("#")[0].strip() for line in (PROJECT / name).read_text().splitlines())
    found = [Requirement(line) for line in lines if line and not line.startswith("-")]
    return {canonicalize_name(requirement.name): requirement for requirement in found}


def third_party_imports(paths: tuple[str, ...]) -> set[str]:
    """Distributions that the files import, by the names that requirements use."""
    files = [file for path in paths for file in ([PROJECT / path] if path.endswith(".py") else (PROJECT / path).rglob("*.py"))]
    own = {path.removesuffix(".py") for path in CODE}
    modules = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules.add(node.module.split(".")[0])
    modules -= own | set(sys.stdlib_module_names)
    return {canonicalize_name(distributions().get(module, [module])[0]) for module in modules}


@cache
def distributions() -> dict[str, list[str]]:
    """Module -> its distributions, of cv2 the headless one first (both OpenCV packages own the folder)."""
    found = packages_distributions()
    return {module: sorted(names, key=lambda name: "headless" not in name) for module, names in found.items()}


def test_everything_imported_is_required():
    needed = third_party_imports(CODE) - OPTIONAL
    assert needed <= set(requirements("requirements.txt")), "imported, but not in requirements.txt"


def test_everything_that_tests_import_is_required():
    needed = third_party_imports(("tests", "img", *CODE)) - OPTIONAL - {"benchmarks", "img", "reference"}
    assert needed <= set(requirements("requirements.txt") | requirements("requirements-dev.txt"))


def test_everything_required_is_imported():
    idle = set(requirements("requirements.txt")) - third_party_imports(CODE) - FOR_PYIQA - FOR_SCRIPTS
    assert not idle, "in requirements.txt, but nothing needs it"


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-app.txt", "requirements-metrics.txt",
                                  "requirements-video.txt", "requirements-dev.txt"])
def test_every_requirement_has_both_ends(name):
    for requirement in requirements(name).values():
        operators = {specifier.operator for specifier in requirement.specifier}
        assert operators == {">=", "<"}, f"{requirement} in {name}"


def test_the_oldest_supported_torch_is_in_range():
    listed = requirements("requirements.txt")
    assert listed["torch"].specifier.contains("2.11.0") and listed["torchvision"].specifier.contains("0.26.0")
    assert not listed["torch"].specifier.contains("2.10.1")


def test_pyiqa_stays_out_of_the_main_list():
    assert "pyiqa" not in requirements("requirements.txt") | requirements("requirements-dev.txt")
    assert "opencv-python" not in requirements("requirements.txt")
    assert set(requirements("requirements-metrics.txt")) == {"pyiqa"}


def test_a_package_that_does_not_load_is_named_with_the_remedy():
    broken = "import sys; sys.modules['cv2'] = None; import train; sys.exit(train.main(['--exp_name', 'short_test']))"
    result = subprocess.run([sys.executable, "-c", broken], cwd=PROJECT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 2, result.stderr
    assert "cv2" in result.stderr and "pip install -U -r requirements.txt" in result.stderr.splitlines()[-1]
