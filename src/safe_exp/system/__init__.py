"""What every room may lean on: errors, files, locks, processes, versions, the terminal."""
