"""Answer: the answer to one article, as a JSON line has it."""

from __future__ import annotations

from typing import Any, Literal, TypedDict


class Answer(TypedDict, total=False):
    """The answer to one article. An article that cannot be answered has the keys `id` and `error` alone."""

    id: str  # of the article
    error: str  # the reason why there is no answer
    probability: float  # of fake, in [0, 1]; at the run's temperature where it was asked for
    similarity: float | None  # M_s, in [0, 1]; None where the variant compares nothing
    verdict: Literal["fake", "real"]  # fake where the probability is above the threshold
    scores: dict[str, float]  # by scorer (prediction, similarity, combined), in [0, 1], high for fake
    explanation: dict[str, Any]  # the parts of logit and cosine; there where it was asked for
