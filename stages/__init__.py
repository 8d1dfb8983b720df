"""The stages, one file each, and the rooms with what they are made of.

Doors: `base` for authors of stages, `registry` for those who look a stage up by name. The rooms, each of which knows
only those after it: outcome, dedup, passes, implicit, detect and inputs, core, kernels.
"""

from cluster.device.kernel_cache import prepare

prepare()
