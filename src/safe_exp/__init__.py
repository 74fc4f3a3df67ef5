"""SAFE (Zhou, Wu & Zafarani 2020) as an experiment framework. The map of the package:

train, evaluate, report   the commands; each is a Hydra application, run as python -m safe_exp.<command>
equations/         the paper, Eqs. (12)-(18): pure functions, tensors in, tensors out
network, module    the parameters and the forward pass; the update, the metrics and the optimiser around them
training, evaluation   one job from config to results
data/              folders of articles → records → splits → tokens → batches; the built-in data set
config             the typed shape of conf/
job, status, tracking, results, runs   what a run leaves behind, and how it is read back; figure_names: its words
reporting/         figures of a run; tables, figures and the page of a sweep
"""
