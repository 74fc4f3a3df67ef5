"""Foundations that every room may import: errors, files, locks, processes, registries, versions, the terminal."""
