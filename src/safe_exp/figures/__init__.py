"""Figures of one run, and the sheets that all figures are drawn on."""
