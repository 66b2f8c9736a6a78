"""Training: the loop, its processes, checkpoints and records."""
