"""Figures of a run, and the report of a sweep.

figures.py         one run: losses, similarity, verdicts, ranking     build.py       a report, start to end
planned.py         the jobs that a sweep was to run                   collect.py     its jobs and their states
conditions.py      what was swept, and which condition won            statistics.py  intervals, paired tests, Holm
sweep_tables.py    what stands in the tables                          tables.py      CSV, Markdown, LaTeX
sweep_figures.py   which figures are drawn                            axis_figures.py  score along an axis
summary.py         the sweep in a few sentences                       case_study.py  articles to look at
page/              the HTML page                                      publish.py     the report as a W&B run
"""
