"""C++ kernels for the CPU, float32."""
