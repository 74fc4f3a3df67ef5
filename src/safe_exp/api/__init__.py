"""From Python: the commands as functions, for scripts, notebooks and services.

composing.py        overrides to a config, with nothing left behind
trained_model.py    a stored run as an object that answers and is scored
training_run.py     one run of train, in a process of its own
"""
