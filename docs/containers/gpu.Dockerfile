# winnow on GPUs, with CUDA 13. From the root of a checkout, on a machine with NVIDIA's container toolkit:
#
#     docker build -f docs/containers/gpu.Dockerfile -t winnow-gpu .
#     docker run --rm --gpus all --shm-size 8g -v "$PWD:/data" winnow-gpu run mix.yaml --run-dir RUN --backend gpu
#
# For CUDA 12: --build-arg CUDA=12.9.1 --build-arg EXTRAS=gpu-cu12,s3,warc

ARG CUDA=13.0.1
FROM python:3.12-slim AS build
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM nvidia/cuda:${CUDA}-runtime-ubuntu24.04
ARG EXTRAS=gpu-cu13,s3,warc
RUN apt-get update && apt-get install --yes --no-install-recommends python3 python3-venv && rm -rf /var/lib/apt/lists/*
COPY --from=build /wheels /wheels
ENV PATH=/opt/winnow/bin:$PATH PYTHONUNBUFFERED=1 PYTHONSAFEPATH=1
RUN python3 -m venv /opt/winnow && pip install --no-cache-dir "$(echo /wheels/winnow_mix-*.whl)[$EXTRAS]" && rm -r /wheels \
    && useradd --create-home winnow && mkdir /data && chown winnow /data
USER winnow
RUN winnow models fetch
WORKDIR /data
ENTRYPOINT ["winnow"]
CMD ["--help"]
