"""A trained run answers: verdicts, explanations, scores of a labelled folder."""
