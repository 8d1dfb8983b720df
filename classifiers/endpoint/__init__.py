"""Language models behind OpenAI-compatible endpoints: prompts, requests, answers that are kept.

`prompt.py` reads prompt files and takes answers apart; `asker.py` is a model with its prompt and parameters;
`answers.py` keeps answers in the run folder; `servers.py` and `client.py` send requests; `ask.py` asks many at once.
"""
