"""A command line: read, explained, refused."""
