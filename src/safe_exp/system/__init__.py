"""Foundations for every room: errors, files, extras, locks, processes, registries, versions, the terminal."""
