"""The network: `HVR`, the `State` it carries, and its weight files."""
from models.hvr import HVR, State
from models.weights import WeightsError, load_pretrained, save_weights

__all__ = ["HVR", "State", "WeightsError", "load_pretrained", "save_weights"]
