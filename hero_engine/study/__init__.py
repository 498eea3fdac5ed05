"""Compare methods over tasks and seeds: resumable, every figure kept.

methods.py     the methods: a few settings each over a preset
plan.py        tasks x methods x seeds, and where each trial is kept
trial.py       one trial: a run that is scored after every N labels
baselines.py   the base model and a better prompt, which need no labels
run_study.py   runs or reads the trials of a plan
figures.py     the table of figures: one row a score, as CSV
summary.py     means and intervals over seeds, labels needed
report.py      tables; plots.py: curves
"""
