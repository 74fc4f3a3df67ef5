"""Splitting: the side of each article, train, val or test; what must not be torn, and leaks."""
