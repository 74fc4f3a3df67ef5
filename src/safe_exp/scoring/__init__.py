"""The figures of metrics.json, and how far to trust them."""
