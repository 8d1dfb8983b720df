"""The stages, one file each, and the rooms with what they are made of.

Doors: `base` for authors of stages, `registry` for a stage by its name. The rooms, each of which imports only
later ones: outcome, dedup, passes, implicit, detect and inputs, core, kernels.
"""

from cluster.device.kernel_cache import prepare

prepare()
