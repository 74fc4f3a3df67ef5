"""Which article stands on which side: train, val or test."""
