"""SAFE\\T: the text is left out, so there is no similarity either."""

from safe_exp.network.variants import variants
from safe_exp.network.variants.safe import SafeVariant

variants.add(SafeVariant("visual_only", reads=("visual",), compares=False, losses=("prediction",)))
