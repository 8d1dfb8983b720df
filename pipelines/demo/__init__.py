"""Data for `make demo`: four small datasets in four real schemas, and a quality classifier.

python -m pipelines.demo --out demo-data
"""
