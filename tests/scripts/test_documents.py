"""README.md and docs/ hold what they promise: every command is one that the real parsers take, every file named is there."""
from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import app
import infer_image
import infer_video
import train
from data.files.images import Photo, read_photo, write_photo
from losses.total import NAMES as LOSS_NAMES

PROJECT = Path(__file__).resolve().parents[2]
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "checkpoint/README.md", "dataset/README.md", "img/samples/README.md",
             *sorted(str(path.relative_to(PROJECT)) for path in (PROJECT / "docs").glob("*.md"))]
TEXTS = {name: (PROJECT / name).read_text(encoding="utf-8") for name in DOCUMENTS}
LONGEST = {"README.md": 200, "checkpoint/README.md": 120}  # lines
EXAMPLES = ("path/to/", "xxxxx", "192.168.")  # stand for the reader's own
PLAIN = {"cp", "mkdir", "export"}             # commands of the shell


def blocks(document: str, language: str) -> list[str]:
    """Fenced blocks of a language; those in lists lose their indentation."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", TEXTS[document], flags=re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", body, flags=re.MULTILINE) for indent, body in found]


def commands() -> list[str]:
    """Every command of every document, each once."""
    lines = "\n".join(block for document in DOCUMENTS for block in blocks(document, "bash")).replace("\\\n", " ").splitlines()
    return list(dict.fromkeys(line.strip() for line in lines if line.strip() and not line.startswith("#")))


def check(words: list[str]) -> None:
    """Raise where a command is none that works here."""
    while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        words = words[1:]
    program, arguments = words[0], words[1:]
    {"python": check_python, "accelerate": check_accelerate, "torchrun": check_torchrun, "bash": check_bash, "pip": check_pip,
     "docker": check_docker, "srun": check, "source": check_source}.get(
         program, check_plain if program in PLAIN else unknown)(arguments)


def unknown(arguments: list[str]) -> None:
    raise AssertionError(f"no check for this command: {arguments}")


def check_source(arguments: list[str]) -> None:
    assert arguments == [".venv/bin/activate"] and 'venv="$project/.venv"' in (PROJECT / "setup_env.sh").read_text()


def check_plain(arguments: list[str]) -> None:
    source = arguments[0]
    assert source.startswith("-") or "=" in source or (PROJECT / source).exists(), source


def check_python(arguments: list[str]) -> None:
    script, rest = arguments[0], arguments[1:]
    if script == "-m":
        assert importlib.util.find_spec(rest[0]) is not None, rest[0]
    else:
        {"train.py": check_train, "infer_image.py": check_inference, "infer_video.py": check_clips,
         "app.py": app.build_parser().parse_args}[script](rest)


def check_train(arguments: list[str]) -> None:
    from exp_config import load_config

    parsed = train.parse_arguments(arguments)
    load_config(PROJECT / parsed.config_path, parsed.config_name, parsed.exp_name, parsed.overrides)


def check_inference(arguments: list[str]) -> None:
    parsed = infer_image.parse_arguments(arguments)
    for path in (parsed.config_path, parsed.weights_path, parsed.input_path, parsed.target_path):
        if path is not None and not path.is_absolute() and not any(example in str(path) for example in EXAMPLES):
            assert (PROJECT / path).exists(), path


def check_clips(arguments: list[str]) -> None:
    parsed = infer_video.parse_arguments(arguments)
    assert any(example in str(parsed.input_path) for example in EXAMPLES)


def check_accelerate(arguments: list[str]) -> None:
    from accelerate.commands.launch import launch_command_parser

    assert arguments[0] == "launch"
    arguments = [re.sub(r"^\$.*", "1", word) for word in arguments]
    parsed = launch_command_parser().parse_args(arguments[1:])
    check_python([parsed.training_script, *parsed.training_script_args])


def check_torchrun(arguments: list[str]) -> None:
    from torch.distributed.run import get_args_parser

    parsed = get_args_parser().parse_args(arguments)
    check_python([parsed.training_script, *parsed.training_script_args])


def check_bash(arguments: list[str]) -> None:
    if arguments[0] == "-c":
        return check(shlex.split(arguments[1]))
    assert (PROJECT / arguments[0]).is_file(), arguments[0]
    if arguments[0] == "infer_image.sh":
        places = [word for word in arguments[1:3] if not word.startswith("-")]
        check_inference(["--input_path", *(places[:1] or ["img/samples"]), *arguments[1 + len(places):]])


def check_pip(arguments: list[str]) -> None:
    assert arguments[0] == "install"
    for option, value in zip(arguments, arguments[1:], strict=False):
        if option == "-r":
            assert (PROJECT / value).is_file(), value


def check_docker(arguments: list[str]) -> None:
    image = "hvr-ssle:latest"
    assert image in arguments
    if arguments[0] == "build":
        assert (PROJECT / arguments[arguments.index("-f") + 1]).is_file()
    elif inside := arguments[arguments.index(image) + 1:]:
        check(inside)


@pytest.mark.parametrize("command", commands())
def test_command(command):
    check(shlex.split(command))


def test_there_are_commands():
    programs = {shlex.split(command)[0] for command in commands()}
    assert {"bash", "pip", "python", "accelerate", "docker", "ACCELERATE_USE_CPU=true"} <= programs


@pytest.mark.parametrize("wrong", ["python infer_image.py --input_path x --brighter 2", "python train.py --exp_name nothing",
                                   "accelerate launch --number 2 train.py", "bash missing.sh", "python -m img.missing",
                                   "make all", "pip install -r requirements-none.txt"])
def test_a_wrong_command_would_be_noticed(wrong, capsys):
    with pytest.raises((AssertionError, SystemExit, ValueError, KeyError)):
        check(shlex.split(wrong))


@pytest.mark.parametrize(("document", "lines"), LONGEST.items())
def test_a_page_stays_a_page(document, lines):
    assert len(TEXTS[document].splitlines()) <= lines


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_and_pictures_are_there(document):
    text = TEXTS[document]
    targets = re.findall(r"\]\(([^)#]+)\)", text) + re.findall(r'(?:src|srcset)="([^"]+)"', text)
    missing = [t for t in targets if "://" not in t and not (PROJECT / document).parent.joinpath(t).exists()]
    assert not missing


@pytest.mark.parametrize(("script", "documents"), [(infer_image, ["enhancing"]), (infer_video, ["video", "enhancing"])])
def test_every_option_of_inference_is_described(script, documents):
    options = {option for action in script.build_parser()._actions for option in action.option_strings}
    described = {option for document in documents
                 for option in re.findall(r"^\| `(--[\w-]+)", TEXTS[f"docs/{document}.md"], flags=re.MULTILINE)}
    assert options - {"-h", "--help"} <= described


def test_every_option_of_the_page_is_described():
    page = next(group for group in app.build_parser()._action_groups if group.title == "the page")
    options = {option for action in page._group_actions for option in action.option_strings}
    assert options == set(re.findall(r"^\| `(--\w+)", TEXTS["docs/page.md"], flags=re.MULTILINE))


def test_files_of_the_metrics_are_those_that_are_looked_for():
    from exp_config import pyiqa_access

    text = TEXTS["docs/benchmarks.md"]
    assert not [file for files in pyiqa_access.WEIGHT_FILES.values() for file in files if f"`{file}`" not in text]


def test_every_experiment_is_described():
    from exp_config import Config

    assert not [name for name in Config.EXPERIMENTS if f"`{name}`" not in TEXTS["docs/training.md"]]


def test_python_example(tmp_path, monkeypatch, make_photo):
    """The example runs as it stands, in a folder whose sample is a small picture."""
    (tmp_path / "checkpoint").symlink_to(PROJECT / "checkpoint")
    dark = make_photo(40, 56) // 6
    write_photo(tmp_path / "img/samples/coffee.jpg", Photo(dark))
    monkeypatch.chdir(tmp_path)
    example, _ = blocks("docs/enhancing.md", "python")
    exec(compile(example, "docs/enhancing.md", "exec"), {})
    bright = read_photo("coffee_bright.png").pixels
    assert bright.shape == dark.shape and bright.dtype == np.uint8 and bright.mean() > dark.mean()


@pytest.mark.parametrize("message", [
    "packages could not be installed", "no file or folder", "no weights file", "does not fit this network", "no photos in",
    "is the input folder", "PyTorch finds no CUDA GPU here", "unknown benchmark", "unknown experiment", "no config class",
    "unknown field", "processes were asked for, but this one stands alone", "training goes on without the lpips loss",
    "the loss lpips that loss_weight asks for cannot be had", "a loader process was ended from outside", "has no effect",
    "is built here", "this user has no home folder", "a Git LFS pointer",
    "too little shared memory", "out of memory (", "wandb could not start", "is occupied"])
def test_messages_of_the_troubleshooting_table_are_those_of_the_code(message):
    folders = ("engine", "data", "losses", "models", "exp_config")
    sources = [PROJECT / "setup_env.sh", *(file for folder in folders for file in (PROJECT / folder).rglob("*.py"))]
    assert message in TEXTS["docs/troubleshooting.md"]
    assert any(message in source.read_text(encoding="utf-8") for source in sources)


def test_the_table_of_losses_is_complete():
    table = TEXTS["docs/training.md"].split("| loss | what it measures |")[1].split("\n\n")[0]
    cells = " ".join(row.split("|")[1] for row in table.splitlines() if row.startswith("| `"))
    assert sorted(re.findall(r"`(\w+)`", cells)) == sorted(LOSS_NAMES)
