"""SAFE\\W: M_s alone decides (α = 0); there is no M_p."""

from safe_exp.network.variants import variants
from safe_exp.network.variants.safe import SafeVariant

variants.add(SafeVariant("similarity_only", losses=("similarity",)))
