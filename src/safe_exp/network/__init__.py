"""The networks: parameters and forward passes; their arithmetic is `safe_exp.equations`."""

from safe_exp.network.safe_network import SafeNetwork

__all__ = ["SafeNetwork"]
