"""Raw articles → a prepared data set, once: words as numbers, images as sentences, everything accounted for.

parts.py     a few hundred articles at a time, in any process     join.py   parts → one data set
prepare.py   which parts, by whom, where; locks and progress      store.py  a prepared data set, read back
"""

from safe_exp.data.prepared.prepare import prepare
from safe_exp.data.prepared.store import PreparedArticles

__all__ = ["PreparedArticles", "prepare"]
