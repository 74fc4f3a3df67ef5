"""SAFE\\V: the image is left out, so there is no similarity either."""

from safe_exp.network.variants import variants
from safe_exp.network.variants.safe import SafeVariant

variants.add(SafeVariant("text_only", reads=("text",), compares=False, losses=("prediction",)))
