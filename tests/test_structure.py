"""The house as CONTRIBUTING.md draws it: no import that its table does not allow, none upward, no circle."""
from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
TABLE = re.compile(r"^\| room \| may import \|\n\|---\|---\|\n((?:\|.*\|\n)+)", re.MULTILINE)


def allowed_arrows() -> dict[str, set[str]]:
    """Room -> rooms that it may import, in the order of the table in CONTRIBUTING.md."""
    rows = TABLE.search((PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8"))[1].splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return {room: {other.strip() for other in others.split(",") if other.strip()} for room, others in cells}


ARROWS = allowed_arrows()


def modules() -> dict[str, Path]:
    """Dotted name -> file, of every Python file outside the tests."""
    tracked = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"], cwd=PROJECT,
                             capture_output=True, text=True)
    files = [Path(line) for line in tracked.stdout.splitlines()] if tracked.returncode == 0 else [
        path.relative_to(PROJECT) for room in ("", *ARROWS) for path in PROJECT.joinpath(*room.split(".")).glob("*.py")]
    return {".".join(path.with_suffix("").parts).removesuffix(".__init__"): path for path in files
            if path.parts[0] != "tests" and (PROJECT / path).is_file()}


MODULES = modules()


def room_of(module: str) -> str:
    """The room that a module is in: its folder, or "scripts" for those at the top."""
    parent = MODULES[module].parent
    return ".".join(parent.parts) or "scripts"


def imports(module: str) -> set[str]:
    """The project's modules that one imports, at its head, inside functions or for type checking."""
    found = set()
    for node in ast.walk(ast.parse((PROJECT / MODULES[module]).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative imports hide where an arrow points"
            found |= {full if (full := f"{node.module}.{alias.name}") in MODULES else node.module for alias in node.names}
    return found & MODULES.keys()


def test_every_room_has_a_row():
    assert {room_of(module) for module in MODULES} == set(ARROWS)
    assert len(MODULES) > 80


def test_no_row_names_a_room_above_it():
    order = list(ARROWS)
    assert not [(room, other) for room, others in ARROWS.items() for other in others
                if other not in order or order.index(other) <= order.index(room)]


@pytest.mark.parametrize("room", ARROWS)
def test_imports_are_those_of_the_table(room):
    wrong = [f"{module} imports {other}" for module in MODULES if room_of(module) == room for other in imports(module)
             if room_of(other) not in {room, *ARROWS[room]}]
    assert not wrong


def test_no_file_is_in_a_circle():
    graph = {module: imports(module) - {module} for module in MODULES}
    before = None
    while graph != before:  # who imports nobody that is left, or is imported by nobody that is left, is in no circle
        before, imported = graph, set().union(*graph.values())
        graph = {module: left for module, others in graph.items() if (left := others & graph.keys()) and module in imported}
    assert not graph, f"these import one another: {sorted(graph)}"
