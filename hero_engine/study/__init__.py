"""Methods side by side: tasks x methods x seeds, resumable, everything kept as JSON.

plan.py      which cells there are: one run of one method each
cell.py      one cell: run, score after every so many labels, keep the figures
lines.py     what needs no labels: the base, and the prompt a user would try first
study.py     all of a plan's cells, one after the other, with an estimate
summary.py   means and intervals over seeds, labels needed, curves
report.py    tables; chart.py: plots
"""
