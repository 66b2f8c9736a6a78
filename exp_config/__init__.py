"""Settings of a run: `Config` and how it is found and checked."""
from exp_config.checking import ConfigError
from exp_config.config import PROJECT_ROOT, Config
from exp_config.loading import load_config

__all__ = ["Config", "ConfigError", "PROJECT_ROOT", "load_config"]
