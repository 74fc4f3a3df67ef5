"""Command lines: help, checks, and messages about mistakes."""
