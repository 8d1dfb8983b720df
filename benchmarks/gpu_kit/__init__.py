"""A kit for a machine that has a GPU and no package index: what to carry there, and what to run.

`make gpu-kit` writes `.gpu/`: cuDF cut down to one compute capability, in two archives of less than 64 MiB each
(pack.py), and `run.sh`, the command to run in the checkout there. It runs the tests marked gpu without cuGraph and cuML
(subset.py) and `python -m benchmarks.gpu_rates`. Not yet run on a GPU.
"""
