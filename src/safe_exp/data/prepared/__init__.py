"""Preparation: raw articles become a prepared data set, once; words as numbers, images as sentences, all counted."""

from safe_exp.data.prepared.prepare import prepare
from safe_exp.data.prepared.store import PreparedArticles

__all__ = ["PreparedArticles", "prepare"]
