"""Jobs of a multirun that are trained together: hydra/launcher=stacked.

launch.py: which jobs become a stack, and what Hydra wants of each · grouping.py: what can be stacked · training.py: the
loop · model.py: the parameters of all runs, one step of theirs · job.py: one job of a stack, its state, its checkpoints
· ending.py: the files of a job that has ended, written in further processes. The equations are
`safe_exp.equations.stacked`.
"""
