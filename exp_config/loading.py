"""Configurations from the command line: a Python file with a Config class, or a config.json."""
from __future__ import annotations

import importlib.util
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from exp_config.checking import ConfigError
from exp_config.config import Config

logger = logging.getLogger(__name__)


def load_config(config_path: str | Path, config_name: str | None = None, exp_name: str | None = None,
                overrides: Sequence[str] = ()) -> Config:
    """The named experiment of a class in a Python file, or the settings in a JSON file.

    config_path: `something.py` (then `config_name` is a class in it derived from `exp_config.config.Config` or that class
        itself, "Config" where it is None, `exp_name` one of its EXPERIMENTS, "default" where it is None) or `config.json`
        (then both names are not used, and a name that is given is warned of).
    overrides: `field=value` pairs; the value is JSON, or a plain string.
    Raises ConfigError naming what exists.
    """
    path = Path(config_path)
    changes = dict(parse_override(text) for text in overrides)
    if path.suffix == ".json":
        unused = [option for option, name in (("--config_name", config_name), ("--exp_name", exp_name)) if name is not None]
        if unused:
            logger.warning("%s holds all settings of one run: %s nothing (--set changes single settings)", path,
                           f"{' and '.join(unused)} {'change' if len(unused) > 1 else 'changes'}")
        config = Config.from_json(path)
        return Config.from_dict({**vars(config), **Config.translated_changes(changes)}, source="--set") if changes else config
    if "exp_name" in changes:
        raise ConfigError(f"--set exp_name={changes['exp_name']}: an experiment of the class is chosen by --exp_name")
    return _load_class(path, "Config" if config_name is None else config_name).named(
        "default" if exp_name is None else exp_name, **changes)


def parse_override(text: str) -> tuple[str, Any]:
    """`field=value` -> (field, value)."""
    name, sep, value = text.partition("=")
    if not sep:
        raise ConfigError(f"--set {text!r}: expected field=value, for example --set batch_size=16")
    try:
        return name.strip(), json.loads(value)
    except json.JSONDecodeError:
        return name.strip(), value


def _load_class(path: Path, config_name: str) -> type[Config]:
    if not path.is_file():
        raise ConfigError(f"no config file {path} (current folder: {Path.cwd()}); the project's own is exp_config/config.py")
    if path.resolve() == Path(__file__).with_name("config.py"):
        import exp_config.config as module
    else:
        spec = importlib.util.spec_from_file_location(f"user_config_{path.stem}", path)
        if spec is None or spec.loader is None:
            raise ConfigError(f"{path} is not a Python file (.py) or a config.json")
        module = importlib.util.module_from_spec(spec)
        import sys
        sys.modules[spec.name] = module  # dataclasses look their module up there
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            raise ConfigError(f"{path} could not be executed: {type(error).__name__}: {error}") from error
    classes = {n: c for n, c in vars(module).items() if isinstance(c, type) and issubclass(c, Config)}
    if config_name not in classes:
        raise ConfigError(f"{path} has no config class {config_name!r}; it has: {', '.join(sorted(classes)) or 'none'}")
    return classes[config_name]
