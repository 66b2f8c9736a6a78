"""setup_env.sh in a small project of its own: packages are stand-ins in a local folder, everything else is real."""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import packaging
import pytest

PROJECT = Path(__file__).resolve().parents[2]
NEEDS_BASH = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
pytestmark = NEEDS_BASH


def make_wheel(folder: Path, name: str, version: str, modules: list[str]) -> None:
    """A wheel of empty modules."""
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for module in modules:
            wheel.writestr(f"{module}.py", "")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


class SmallProject:
    """A project folder (with a space in its name) holding the real script and stand-in requirements."""

    def __init__(self, root: Path) -> None:
        self.folder, self.wheels, self.bin = root / "my project", root / "wheels", root / "bin"
        for folder in (self.folder, self.wheels, self.bin):
            folder.mkdir()
        shutil.copy(PROJECT / "setup_env.sh", self.folder)
        make_wheel(self.wheels, "torch", "2.15.0", ["torch", "torchvision", "cv2"])
        make_wheel(self.wheels, "pyiqa", "0.1.16", ["pyiqa"])
        make_wheel(self.wheels, "pytest", "9.0", ["pytest"])
        (self.folder / "requirements.txt").write_text('# comment\ntorch>=2.11,<2.16  # why\nnever>=1; python_version < "3"\n')
        (self.folder / "requirements-metrics.txt").write_text("pyiqa>=0.1.16\n")
        make_wheel(self.wheels, "gradio", "6.31.0", ["gradio"])
        (self.folder / "requirements-app.txt").write_text("gradio>=6.31\n")
        (self.folder / "requirements-dev.txt").write_text("-r requirements.txt\npytest>=8\n")

    @property
    def venv(self) -> Path:
        return self.folder / ".venv"

    @property
    def packages(self) -> Path:
        return next((self.venv / "lib").glob("python*/site-packages"))

    def forget(self, name: str) -> None:
        """Make an installed package look as if it had never been there."""
        for path in self.packages.glob(f"{name}*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def run(self, *arguments: str, script: str = "setup_env.sh", **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the script from another folder, with no environment active and no uv in sight."""
        path = [d for d in os.environ["PATH"].split(os.pathsep) if not (Path(d) / "uv").exists()]
        env = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "CONDA_PREFIX", "HVR_SKIP_SETUP")}
        env |= {"PATH": os.pathsep.join([str(self.bin), *path]), "PYTHON": sys.executable,
                "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheels), "PIP_CONFIG_FILE": os.devnull}
        return subprocess.run(["bash", str(self.folder / script), *arguments], capture_output=True, text=True, timeout=120,
                              cwd=self.folder.parent, stdin=subprocess.DEVNULL, env=env | environment)

    def add_uv(self) -> Path:
        """A stand-in for uv that is quick: makes environments without pip, unpacks every wheel. Returns its log."""
        log = self.bin / "log"
        self.command("uv", f"""
            printf '%s\\n' "$*" >> '{log}'
            if [[ $1 == venv ]]; then exec '{sys.executable}' -m venv --clear --without-pip "${{@: -1}}"; fi
            packages=$("$4" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
            cp -r '{Path(packaging.__file__).parent}' "$packages"  # accelerate brings it in reality
            for wheel in '{self.wheels}'/*.whl; do '{sys.executable}' -m zipfile -e "$wheel" "$packages"; done""")
        return log

    def command(self, name: str, body: str) -> Path:
        """An executable of that name, first on PATH."""
        path = self.bin / name
        path.write_text(f"#!/usr/bin/env bash\n{body}\n")
        path.chmod(0o755)
        return path


@pytest.fixture
def project(tmp_path):
    return SmallProject(tmp_path)


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    """A project that the real venv and pip have set up with --dev; tests leave it working."""
    project = SmallProject(tmp_path_factory.mktemp("ready"))
    result = project.run("--dev")
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{project.venv}/bin/python\n"
    return project


def modules(project: SmallProject, *names: str) -> bool:
    """Can the project's python import them?"""
    command = [project.venv / "bin" / "python", "-c", f"import {', '.join(names)}"]
    return subprocess.run(command, capture_output=True).returncode == 0


def test_later_runs_install_nothing(ready):
    result = ready.run("--dev", PIP_FIND_LINKS="/nowhere")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"{ready.venv}/bin/python\n"
    assert modules(ready, "torch", "pyiqa", "pytest")


def test_metrics_are_added_on_request(ready):
    ready.forget("pyiqa")
    assert ready.run().stderr == ""
    assert not modules(ready, "pyiqa")
    assert ready.run("--metrics").returncode == 0
    assert modules(ready, "pyiqa")


def test_the_page_is_added_on_request(ready):
    assert not modules(ready, "gradio")
    assert ready.run("--app").returncode == 0
    assert modules(ready, "gradio", "torch") and ready.run("--app").stderr == ""


def test_a_version_outside_the_range_is_replaced(ready):
    metadata = next(ready.packages.glob("torch-*.dist-info")) / "METADATA"
    metadata.write_text(metadata.read_text().replace("2.15.0", "2.10.0"))
    result = ready.run()
    assert result.returncode == 0 and "torch>=2.11,<2.16" in result.stderr
    assert ready.run().stderr == ""


def test_an_interrupted_set_up_is_taken_up_again(ready):
    (ready.venv / ".hvr-ssle-half-made").touch()
    result = ready.run()
    assert result.returncode == 0 and "ready" in result.stderr
    assert not (ready.venv / ".hvr-ssle-half-made").exists()


def test_an_environment_that_does_not_start_is_made_anew(project):
    project.add_uv()
    project.run()
    (project.venv / "bin" / "python").unlink()
    result = project.run()
    assert result.returncode == 0, result.stderr
    assert "making it anew" in result.stderr and modules(project, "torch")


def test_an_active_environment_is_used_and_completed(ready, tmp_path):
    other = SmallProject(tmp_path)
    make_wheel(other.wheels, "extra", "1.0", ["extra"])
    (other.folder / "requirements.txt").write_text("torch>=2.11\nextra\n")
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        result = other.run(**{variable: str(ready.venv)})
        assert result.returncode == 0, result.stderr
        assert result.stdout == f"{ready.venv}/bin/python\n"
    assert modules(ready, "extra") and not other.venv.exists()


def test_an_active_environment_that_is_gone(project):
    result = project.run(VIRTUAL_ENV=str(project.folder / "gone"))
    assert result.returncode == 2 and "gone does not start" in result.stderr and "deactivate" in result.stderr
    assert result.stdout == ""


def test_packages_out_of_reach_say_so_and_the_next_run_goes_on(ready):
    ready.forget("torch")
    result = ready.run(PIP_FIND_LINKS="/nowhere")
    assert result.returncode == 2 and result.stdout == ""
    assert "internet connection" in result.stderr and "Run this again" in result.stderr
    assert ready.run().returncode == 0
    assert modules(ready, "torch")


def test_packages_that_do_not_load_together_say_so(ready):
    torchvision = ready.packages / "torchvision.py"
    torchvision.write_text("raise RuntimeError('operator torchvision::nms does not exist')\n")
    (ready.venv / ".hvr-ssle-half-made").touch()
    result = ready.run()
    torchvision.write_text("")
    assert result.returncode == 2 and "operator torchvision::nms does not exist" in result.stderr
    assert "different sources" in result.stderr
    assert ready.run().returncode == 0


def test_uv_is_used_when_at_hand(project):
    log = project.add_uv()
    result = project.run("--metrics")
    assert result.returncode == 0, result.stderr
    made, packages, metrics = log.read_text().splitlines()
    assert made.startswith("venv ") and made.endswith("/.venv")
    assert packages == f"pip install --python {project.venv}/bin/python -r {project.folder}/requirements.txt"
    assert metrics.endswith(f"--no-deps -r {project.folder}/requirements-metrics.txt")
    assert modules(project, "torch", "pyiqa")
    assert project.run("--metrics").stderr == ""


def test_a_python_that_is_too_old_is_named(project):
    old = project.command("oldpython", '[[ "$1" == -c ]] && exit 1; echo "Python 3.8.1"')
    result = project.run(PYTHON=str(old))
    assert result.returncode == 2 and str(old) in result.stderr and "3.10" in result.stderr
    for name in ("python", "python3", *(f"python3.{minor}" for minor in range(10, 15))):
        project.command(name, '[[ "$1" == -c ]] && exit 1; echo "Python 3.8.1"')
    result = project.run(PYTHON="")
    assert result.returncode == 2 and "Python 3.8.1" in result.stderr and "PYTHON=" in result.stderr
    assert not project.venv.exists()


def test_a_python_without_venv_names_the_package(project):
    crippled = project.command("crippled", '[[ "$*" == *venv* ]] && { echo "ensurepip is not available" >&2; exit 1; }; exit 0')
    result = project.run(PYTHON=str(crippled))
    assert result.returncode == 2
    assert "ensurepip is not available" in result.stderr and "apt install python3-venv" in result.stderr


def test_in_the_image_nothing_is_made(project):
    python = project.command("python", "")
    result = project.run("--dev", HVR_SKIP_SETUP="1")
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{python}\n", "")
    assert not project.venv.exists()


def test_an_unknown_argument_is_refused(project):
    result = project.run("--everything")
    assert result.returncode == 2 and "--everything" in result.stderr and "--dev" in result.stderr
