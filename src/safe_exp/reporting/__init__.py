"""Figures of a run, and the report of a sweep.

figures.py         one run: losses, similarity, verdicts, ranking     build.py       a report from beginning to end
planned.py         the jobs that a sweep was to run                   collect.py     the jobs that it has, and their states
conditions.py      what was swept, and which condition won            statistics.py  intervals, paired tests, Holm
sweep_tables.py    what stands in the tables                          tables.py      CSV, Markdown, LaTeX
sweep_figures.py   which figures are drawn                            axis_figures.py   the score along what was swept
summary.py         the sweep in a few sentences                       case_study.py  articles to look at
page/              the HTML page                                      publish.py     the report as a W&B run
"""
