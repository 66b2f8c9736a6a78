"""Triton kernels and CUDA graphs for NVIDIA GPUs; every module here but `trust` needs Triton."""
