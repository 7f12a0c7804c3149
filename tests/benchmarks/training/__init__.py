"""The sides of the benchmark of DP-SGD."""
