"""What a stage's verdicts are worth: stratified samples, judged by models or people; classifiers made from a judge.

Doors: `calibrate.py` (precision, recall, threshold of a filter), `distil.py` (a classifier that copies a judge).
"""
