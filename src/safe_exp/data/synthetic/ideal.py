"""Best possible figures on the made articles, computed exactly from the process that makes them.

By Neyman and Pearson the likelihood ratio is the best score, so its AUROC bounds every model's. Given the label, the
cue slots and the picture's origin are independent; everything else (thing, publisher, words) is drawn without regard to
the label. So the ratio depends on two things only: the number of loud slots, and the match of picture and story. Both
take few values, and the sums below run over all of them.
"""

from dataclasses import dataclass
from math import comb

from safe_exp.data.synthetic.plan import (
    ARCHIVE_AT_NIGHT,
    CUE_SLOTS,
    STORY_AT_NIGHT,
    SyntheticSettings,
    archive_probability,
    loud_probability,
)

Distribution = dict[tuple[int, ...], tuple[float, float]]  # outcome: (probability if real, probability if fake)


@dataclass(frozen=True)
class Ideal:
    """AUROC and accuracy (for equal classes) of the best classifier that sees a part of an article."""

    auroc: float
    accuracy: float


def ideal_figures(config: SyntheticSettings) -> dict[str, Ideal]:
    """Compute the best figures of a classifier, by the parts of an article that it sees.

    `everything`: the words, and the match of picture and story.
    `words_and_picture_apart`: both, each judged without the other, and the two log-ratios added. SAFE's M_p, which is
    linear in t ⊕ v, can express no more.
    `words`: the bound of model=text_only.
    `picture`: the picture without the story; the bound of model=visual_only.
    `match`: the match of picture and story alone; the bound of M_s as the scorer.
    """
    words, match, picture = _words(config), _match(config), _picture(config)
    seen = {
        "everything": _independent(words, match),
        "words_and_picture_apart": _independent(words, picture),
        "words": words,
        "picture": picture,
        "match": match,
    }
    return {name: _best_figures(distribution) for name, distribution in seen.items()}


def ideal_auroc(config: SyntheticSettings) -> float:
    """Compute the AUROC of the likelihood ratio on whole articles; no model does better, except by luck."""
    return ideal_figures(config)["everything"].auroc


def _words(config: SyntheticSettings) -> Distribution:
    def binomial(count: int, probability: float) -> float:
        return comb(CUE_SLOTS, count) * probability**count * (1 - probability) ** (CUE_SLOTS - count)

    real, fake = loud_probability(0, config), loud_probability(1, config)
    return {(count,): (binomial(count, real), binomial(count, fake)) for count in range(CUE_SLOTS + 1)}


def _match(config: SyntheticSettings) -> Distribution:
    return _binary(archive_probability(0, config), archive_probability(1, config))


def _picture(config: SyntheticSettings) -> Distribution:
    # Thing, colour and place are evenly spread in both classes; only the share of night pictures differs.
    def at_night(label: int) -> float:
        archive = archive_probability(label, config)
        return archive * ARCHIVE_AT_NIGHT + (1 - archive) * STORY_AT_NIGHT

    return _binary(at_night(0), at_night(1))


def _binary(real: float, fake: float) -> Distribution:
    return {(0,): (1 - real, 1 - fake), (1,): (real, fake)}


def _independent(first: Distribution, second: Distribution) -> Distribution:
    return {
        a + b: (real_a * real_b, fake_a * fake_b)
        for a, (real_a, fake_a) in first.items()
        for b, (real_b, fake_b) in second.items()
    }


def _best_figures(distribution: Distribution) -> Ideal:
    outcomes = list(distribution.values())
    auroc = 0.0
    for real_a, fake_a in outcomes:  # a fake with outcome a against a real article with outcome b
        for real_b, fake_b in outcomes:
            difference = fake_a * real_b - fake_b * real_a  # sign of ratio(a) - ratio(b), without a division by 0
            tied = abs(difference) < 1e-15
            auroc += fake_a * real_b * (0.5 if tied else float(difference > 0))
    return Ideal(auroc=auroc, accuracy=sum(max(real, fake) for real, fake in outcomes) / 2)
