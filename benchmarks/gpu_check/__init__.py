"""Whether the GPU kernels are right on this machine, and how fast: python -m benchmarks.gpu_check."""
