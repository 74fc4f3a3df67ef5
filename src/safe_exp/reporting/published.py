"""The figures that the paper has published, which a report puts beside ours."""

# Zhou, Wu & Zafarani 2020, SAFE on FakeNewsNet: site → figures of the class fake, as printed.
PUBLISHED = {
    "politifact": {"accuracy": 0.874, "precision": 0.889, "recall": 0.903, "f1": 0.896},
    "gossipcop": {"accuracy": 0.838, "precision": 0.857, "recall": 0.937, "f1": 0.895},
}
