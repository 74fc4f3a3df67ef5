"""hydra/launcher=stacked: jobs of a sweep that are trained together.

launch.py       the launcher: composes the jobs, trains the stacks, runs the other jobs one by one
grouping.py     the conditions for a stack, and the stacks of a sweep
running.py      stacks one after the other, from the configs of their jobs to the jobs' results
processes.py    stacks at the same time, each in a process of its own
opening.py      the folder of a job, with its settings, as Hydra makes it
training.py     the training loop of a stack
model.py        the parameters of all runs, their optimiser and one step
shares.py       the seeds that share the work of a step
closed_form.py  Eqs. (12)-(18) for many runs at once
windows.py      each filter's best window of words, for the runs of several seeds
epoch_sums.py   the figures of a training epoch
scores.py       the scores of a split in all runs, and their figures
job.py          one job of a stack: its state, callbacks and checkpoints
loops.py        the state of Lightning's loops in a checkpoint
ending.py       the files of a job that has ended, written by other processes
progress.py     progress on the terminal
"""
