"""The figures of one run, and what all figures are drawn on."""
