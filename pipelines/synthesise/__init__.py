"""Synthetic datasets: documents of a run rewritten by language models, as a new dataset with lineage.

settings.py   what is rewritten how        chunks.py   texts cut by tokens
rewrite.py    drafts, critique, refinement  checks.py   which outputs are usable
synthesise.py the command: chooses, asks, writes RUN/synthetic/NAME, whose rows name their sources (lineage.py)
"""
