"""Benchmarks behind the speeds that the documentation states. `python -m benchmarks` prints ratios from one run."""
