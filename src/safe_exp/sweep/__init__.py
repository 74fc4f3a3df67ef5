"""A sweep as a whole: its jobs, which of them are done, going on after an interruption, and what is said at the end.

planned.py   the jobs that a sweep is to run        run.py      running those that are not done
resume.py    resume_sweep=DIR as a command line     table.py    job, overrides, state, score, time
study.py     jobs that optuna suggests
ddp.py       a job of several processes            devices.py  GPUs for each job that runs at the same time
"""
