"""Many jobs: planned, run, gone on with after an interruption, and told of at the end."""
