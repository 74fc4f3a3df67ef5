"""Jobs of a multirun that are trained together: hydra/launcher=stacked.

launch.py       which jobs become a stack, and what Hydra wants of each
grouping.py     what can be stacked
training.py     the loop
model.py        the parameters of all runs, one step of theirs
closed_form.py  Eqs. (12)-(18) for many runs at once
job.py          one job of a stack: its state and its checkpoints
ending.py       the files of a job that has ended, written in further processes
progress.py     what the terminal shows
"""
