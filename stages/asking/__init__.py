"""Stages that ask a language model behind an endpoint: which documents, how texts get there, how answers come back.

`live.py` asks about live or requested documents, `population.py` chooses them by sample and budget, `texts.py` sends
texts by their digest and facts back to bundles, `prefix.py` finds how far a budget reaches.
"""
