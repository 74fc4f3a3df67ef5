"""Weights of articles against scikit-learn's balanced weights and against sums by hand."""

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_sample_weight

from safe_exp.data.article_weights import weigh_articles
from safe_exp.system.errors import UserError


def draw(articles=60, publishers=5, seed=0):
    """Draw labels, publishers (some articles name none), and two thirds of the rows as the training side."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(articles) < 0.3).astype(np.int64)
    sources = [
        None if number == 0 else f"www.paper-{number}.example" for number in rng.integers(0, publishers, articles)
    ]
    return labels, sources, np.sort(rng.permutation(articles)[: 2 * articles // 3])


def sums(weights, labels, sources, rows) -> dict[tuple[int, str | None], float]:
    """Add up the weights of each publisher in each class."""
    found = {}
    for row in rows:
        key = int(labels[row]), sources[row]
        found[key] = found.get(key, 0.0) + float(weights[row])
    return found


def test_without_weights_nothing_is_computed():
    assert weigh_articles(*draw(), "none") is None


@pytest.mark.parametrize("method", ["class", "source", "source_root"])
def test_weights_have_mean_1_over_the_training_side_and_are_1_elsewhere(method):
    labels, sources, training = draw()
    weights = weigh_articles(labels, sources, training, method)
    assert weights.dtype == np.float32
    assert weights[training].mean() == pytest.approx(1, rel=1e-6)
    assert (np.delete(weights, training) == 1).all()
    by_class = [weights[training][labels[training] == label].sum() for label in (0, 1)]
    assert by_class == pytest.approx([len(training) / 2] * 2, rel=1e-6)


def test_weights_by_class_are_scikit_learn_s():
    labels, sources, training = draw()
    weights = weigh_articles(labels, sources, training, "class")
    np.testing.assert_allclose(weights[training], compute_sample_weight("balanced", labels[training]), rtol=1e-6)


def test_each_publisher_counts_alike_within_its_class_and_those_without_a_name_are_one():
    labels, sources, training = draw()
    for label in (0, 1):
        found = sums(weigh_articles(labels, sources, training, "source"), labels, sources, training)
        alike = [total for (of_class, _), total in found.items() if of_class == label]
        assert len(alike) == 5
        assert alike == pytest.approx([alike[0]] * 5, rel=1e-6)


def test_publishers_count_by_the_root_of_their_size_within_their_class():
    labels, sources, training = draw()
    found = sums(weigh_articles(labels, sources, training, "source_root"), labels, sources, training)
    sizes = sums(np.ones(len(labels)), labels, sources, training)
    for label in (0, 1):
        shares = [total / sizes[key] ** 0.5 for key, total in found.items() if key[0] == label]
        assert shares == pytest.approx([shares[0]] * 5, rel=1e-6)


def test_a_training_side_of_one_class_keeps_the_mean_of_1():
    labels, sources, training = draw()
    real = training[labels[training] == 0]
    assert weigh_articles(labels, sources, real, "source")[real].mean() == pytest.approx(1, rel=1e-6)


def test_publishers_that_no_training_article_names_are_refused():
    labels, sources, training = draw()
    unnamed = [None if row in training else source for row, source in enumerate(sources)]
    with pytest.raises(
        UserError,
        match=r"model\.article_weights=source: none of the 40 training articles names .*article_weights=class",
    ):
        weigh_articles(labels, unnamed, training, "source")
    assert weigh_articles(labels, unnamed, training, "class") is not None
