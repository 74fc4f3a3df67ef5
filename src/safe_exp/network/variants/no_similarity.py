"""SAFE\\S: text and image decide, their similarity is computed and not trained (β = 0)."""

from safe_exp.network.variants import variants
from safe_exp.network.variants.safe import SafeVariant

variants.add(SafeVariant("no_similarity", losses=("prediction",)))
