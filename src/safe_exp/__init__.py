"""SAFE (Zhou, Wu & Zafarani 2020) as an experiment framework. The map of the package:

train, evaluate, predict, export,
prepare, baseline, report          the commands; each is a Hydra application: python -m safe_exp.<command>
equations/         the paper, Eqs. (12)-(18): pure functions, tensors in, tensors out
network, module    the parameters and the forward pass; the update, the metrics and the optimiser around them
training, evaluation, preparation, baselines   one job from config to results
data/              articles → prepared data → splits → tokens → batches; the built-in data set
config/            the typed shape of conf/
job, resume, settings, status, tracking, results, runs   what a run leaves behind, how it is gone on with
sweep/             the jobs of a sweep: those that are not done, their devices and processes
scores, calibration, intervals         the figures of metrics.json, and how far to trust them
stored, bundle     a trained run read back, from its folder or from one file
prediction, explanation, explained     asking a trained run, and why it answers so
callbacks, stopping, progress          what happens around the epochs
reporting/         figures of a run; tables, figures and the page of a sweep
"""
