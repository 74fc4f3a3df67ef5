"""One training job, from its config to its results."""
