"""Array kernels: pure compiled functions of arrays, some with a second version for GPUs.

dispatch: chooses the version. hashes, text: of bytes and of characters. similarity: signatures, bands, Jaccard,
cosines. survivors: choice of representatives among candidates. gpu: the second versions.
"""

from stages.kernels.dispatch.dispatch import find_gpu_kernels_in

find_gpu_kernels_in("stages.kernels.gpu.rapids_kernels")
