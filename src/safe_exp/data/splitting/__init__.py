"""Splitting: the side of each article, train, val or test; near-duplicates and publishers stay together; leaks."""
