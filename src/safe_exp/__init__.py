"""SAFE (Zhou, Wu & Zafarani 2020) as an experiment framework.

train.py      one run or a sweep                    report.py    a sweep as tables, figures and one page
evaluate.py   score a stored run on labelled data   export.py    a stored run as one file
predict.py    ask a stored run about articles       baseline.py  a simple classifier on the same split
prepare.py    raw articles to prepared data

Each room imports only from rooms below it (.importlinter, checked in CI):

cli/          a command line: read, explained, refused
reporting/    a sweep as a page
sweep/        many jobs
training/     one job
inference/    a trained run answers
figures/      the drawings of a run
runs/         a run folder, written and read
scoring/      the figures of metrics.json, and how far to trust them
network/      parameters and forward passes
data/         articles to batches
equations/    the paper, Eqs. (12)-(18): pure functions on tensors; imports torch alone
config/       the typed shape of conf/
system/       errors, files, locks, processes, versions, the terminal
"""
