"""Settings of the surroundings: the project's `.env` file, read into the environment when there is one."""
from __future__ import annotations

import io
import os
import re
from collections.abc import MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING

from exp_config import PROJECT_ROOT

if TYPE_CHECKING:
    from dotenv.parser import Original

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class EnvironmentFileError(ValueError):
    """A `.env` file with a line that is no setting; the message names the line."""


class VariableError(ValueError):
    """A variable of the environment that a package cannot read; the message names it."""


def load_env_file(path: Path | None = None, environ: MutableMapping[str, str] = os.environ) -> dict[str, str]:
    """Add the settings of `path` (the project's `.env`) that `environ` lacks; returns those added.

    A variable that is already set wins. An absent file is no error.
    Raises EnvironmentFileError for a line that is no setting, or a file that cannot be read.
    """
    path = PROJECT_ROOT / ".env" if path is None else path
    if not path.is_file():
        return {}
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise EnvironmentFileError(f"{path} cannot be read as UTF-8 text: {error}") from None
    added = {name: value for name, value in parse_env(text, str(path)).items() if name not in environ}
    environ.update(added)
    return added


def check_progress_variables() -> None:
    """Raise VariableError where tqdm, which draws the progress bars, cannot read its variables: it would not load."""
    try:
        import tqdm  # noqa: F401
    except ValueError as error:
        found = " ".join(f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith("TQDM_"))
        raise VariableError(f"{found}: {error}; unset the variable, or give it such a number as tqdm's option takes") from None


def parse_env(text: str, source: str = ".env") -> dict[str, str]:
    """`NAME=value` lines as python-dotenv reads them -> {name: value}; `${..}` in a value is left as it stands.

    Blank lines, `# comments`, `export ` and quoted values are understood. Raises EnvironmentFileError for other lines.
    """
    from dotenv.parser import parse_stream  # not dotenv_values: that only logs a line that is no setting

    settings: dict[str, str] = {}
    for binding in parse_stream(io.StringIO(text)):
        named = binding.key is None or (_NAME.fullmatch(binding.key) and binding.value is not None)
        if binding.error or not named or "\0" in (binding.value or ""):
            line = next((line.strip() for line in binding.original.string.splitlines() if line.strip()), "")
            raise EnvironmentFileError(f"{source}, line {_line_of(binding.original)}: {line!r} is no setting; expected "
                                       "NAME=value")
        if binding.key is not None and binding.value is not None:
            settings[binding.key] = binding.value
    return settings


def _line_of(original: Original) -> int:
    """Number of the line where the setting itself begins, after blank ones."""
    text = original.string
    return original.line + text[:len(text) - len(text.lstrip())].count("\n")
