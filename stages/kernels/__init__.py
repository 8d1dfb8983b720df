"""Array kernels: pure functions of arrays, compiled, some of them with a second version for GPUs.

dispatch: which version computes. hashes, text: of bytes and of characters. similarity: signatures, bands, Jaccard,
cosines. survivors: who stays, given who resembles whom. gpu: the second versions.
"""

from stages.kernels.dispatch.dispatch import find_gpu_kernels_in

find_gpu_kernels_in("stages.kernels.gpu.rapids_kernels")
