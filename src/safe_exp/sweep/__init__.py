"""Sweeps: their jobs are planned, run, resumed after an interruption, and listed at the end."""
