"""Settings of a run: `Config` and how it is found and checked."""
from exp_config.checking import ConfigError
from exp_config.config import NETWORK_FIELDS, PROJECT_ROOT, Config
from exp_config.loading import load_config

__all__ = ["Config", "ConfigError", "NETWORK_FIELDS", "PROJECT_ROOT", "load_config"]
