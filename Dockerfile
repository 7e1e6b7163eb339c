# The environment of the flows, without the project: a container runs the code of a clone (mounted, or fetched by a
# deployment's `pull`), so an image is built anew when constraints.txt changes, not at each commit.
#
#   docker build -t stillhouse .                            # CPU
#   docker build -t stillhouse:cuda --build-arg TORCH=cuda .
#
# docs/containers.md has the rest: mirrors of the package index, pools, Kubernetes.
ARG BASE=docker.io/library/python:3.11-slim-bookworm

# What the operating system gives, and the user: also of .devcontainer, which makes its own environment.
FROM ${BASE} AS system
# tini reaps what a killed stage leaves behind, and hands signals on: the process with id 1 is to do both.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git make tini \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
    && useradd --create-home --uid 1000 --shell /bin/bash stillhouse

FROM system AS environment
# cpu: PyTorch's own index has a build without CUDA. cuda: the package index's build, with all libraries of CUDA.
ARG TORCH=cpu
ARG CPU_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=pipeline,s3,search,servers
ENV VENV=/opt/venv
WORKDIR /build
COPY pyproject.toml constraints.txt ./
# The project is installed for what it needs, and taken out again. A mirror's address and login may be in the secret
# `pip`, a pip.conf: it is there for this step alone, and in no layer.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    case "$TORCH" in cpu) index="${CPU_INDEX:+--extra-index-url=$CPU_INDEX}" ;; cuda) index= ;; \
        *) echo "error: TORCH=$TORCH: cpu or cuda" >&2; exit 2 ;; esac \
    && touch README.md LICENSE \
    && python3 -m venv "$VENV" \
    && "$VENV/bin/python" -m pip install --no-cache-dir --quiet $index --constraint constraints.txt ".[$EXTRAS]" \
    && "$VENV/bin/python" -m pip uninstall --quiet --yes stillhouse \
    && "$VENV/bin/python" -c "import sys, torch; built = 'cuda' if torch.version.cuda else 'cpu'; \
sys.exit(0 if built == '$TORCH' else f'error: TORCH=$TORCH: the index gave torch {torch.__version__}, of {built}')" \
    && touch "$VENV/ready"

FROM system
COPY --from=environment /opt/venv /opt/venv
# For a volume, which takes over whose it is: what a server keeps.
RUN install --directory --owner=1000 --group=1000 /data
# `make` takes the environment of VENV as it is. The worker's page of health is for this container alone.
ENV VENV=/opt/venv \
    STILLHOUSE_IMAGE_ENVIRONMENT=1 \
    PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PREFECT_WORKER_WEBSERVER_HOST=127.0.0.1 \
    PREFECT_WORKER_WEBSERVER_PORT=8080 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 1000:1000
# Empty: a deployment's clone is made here.
WORKDIR /home/stillhouse
ENTRYPOINT ["tini", "--"]
CMD ["prefect", "worker", "start", "--pool", "containers", "--type", "process", "--with-healthcheck"]
# Of the worker. What runs another command says how its health is known, or that nobody asks.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/health', timeout=5)"]
