"""The processor that computes, CPU or GPU.

Doors, imported one by one since they load different libraries: `backend` (that of this process), `agree` (that of a
run), `halving` (batches that exceed device memory), `kernel_cache` (compiled kernels), `rapids` (memory pool).
"""
