"""Settings of the surroundings: the project's `.env` file, read into the environment when there is one."""
from __future__ import annotations

import os
import re
from collections.abc import MutableMapping
from pathlib import Path

from exp_config import PROJECT_ROOT

_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")
_UNQUOTED_COMMENT = re.compile(r"\s+#.*$")


class EnvironmentFileError(ValueError):
    """A `.env` file with a line that is no setting; the message names the line."""


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


def parse_env(text: str, source: str = ".env") -> dict[str, str]:
    """`NAME=value` lines -> {name: value}; blank lines, `# comments`, `export ` and quoted values are understood."""
    settings: dict[str, str] = {}
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise EnvironmentFileError(f"{source}, line {number}: {line!r} is no setting; expected NAME=value")
        settings[match[1]] = _value(match[2].strip())
    return settings


def _value(text: str) -> str:
    quoted = re.fullmatch(r"""(["'])(.*)\1(?:\s+#.*)?""", text)
    if quoted is not None:
        return quoted[2]
    return "" if text.startswith("#") else _UNQUOTED_COMMENT.sub("", text)
