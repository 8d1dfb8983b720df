# winnow on CPUs. From the root of a checkout:
#
#     docker build -f docs/containers/cpu.Dockerfile -t winnow .
#     docker run --rm -v "$PWD:/data" winnow run mix.yaml --run-dir RUN
#
# The language model is fetched while the image is built; put other models into a folder and name it by WINNOW_MODELS.

FROM python:3.12-slim AS build
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.12-slim
ARG EXTRAS=s3,warc,semantic
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir "$(echo /wheels/winnow_mix-*.whl)[$EXTRAS]" && rm -r /wheels \
    && useradd --create-home --uid 1000 winnow && mkdir /data && chown winnow /data
USER winnow
ENV PYTHONUNBUFFERED=1 PYTHONSAFEPATH=1
# Kernels are compiled once, here, and not in every container.
RUN winnow models fetch \
    && cd /tmp && printf '{"text": "one text"}\n{"text": "another text of some length"}\n' > two.jsonl \
    && winnow dedup two.jsonl --out two --workers 1 --quiet && rm -r two two.jsonl
WORKDIR /data
ENTRYPOINT ["winnow"]
CMD ["--help"]
