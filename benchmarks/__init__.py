"""What backs every speed we state: `python -m benchmarks` prints ratios measured side by side in one run."""
