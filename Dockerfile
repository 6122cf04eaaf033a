# kolora's image: CUDA 12.1 by the locked wheels, torch 2.3.1, Python 3.11. The driver comes from the container toolkit.
#   docker build -t kolora .        (docker/build also records what only git and the engine know: see the labels below)
#   docker run --gpus all -v ./out:/out kolora story.yaml
# Behind a proxy with its own authority: --secret id=ca,src=/path/to/ca-bundle.crt
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS base
ENV DEBIAN_FRONTEND=noninteractive
# Triton builds the launchers of its kernels where they run, for which gcc and libc6-dev are there. Optimising at link
# time is no part of that, and half of gcc.
RUN apt-get update -qq && \
    apt-get install -y -qq --no-install-recommends \
        -o DPkg::Options::=--path-exclude='*/lto1' -o DPkg::Options::=--path-exclude='*-lto-dump-*' \
        python3 tini ca-certificates fonts-wqy-microhei gcc libc6-dev && \
    apt-get clean && rm -rf /var/lib/apt/lists/*

FROM base AS wheels
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 UV_LINK_MODE=copy
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv libpython3-dev
RUN python3 -m venv /opt/venv
COPY requirements.lock /tmp/requirements.lock
# uv is one of the locked packages: it goes in first, because it installs the rest several times faster.
RUN --mount=type=secret,id=ca,target=/run/ca.crt \
    if [ -f /run/ca.crt ]; then export SSL_CERT_FILE=/run/ca.crt PIP_CERT=/run/ca.crt; fi; \
    sed -n '/^uv==/,/[^\\]$/p' /tmp/requirements.lock > /tmp/uv.txt && \
    /opt/venv/bin/pip install -q --no-cache-dir --no-deps --require-hashes -r /tmp/uv.txt && \
    /opt/venv/bin/uv pip install -q --no-cache --python /opt/venv/bin/python --no-deps --require-hashes \
        --compile-bytecode -r /tmp/requirements.lock
# The driver comes when a container starts, where its engine likes to put it, and often without the name that a linker
# looks for. So launchers are linked against this: the names of the driver's functions, and no more.
RUN gcc -E /opt/venv/lib/python3*/site-packages/triton/third_party/cuda/include/cuda.h | \
    grep -oE '\bcu[A-Z][A-Za-z0-9_]+\(' | sort -u | sed 's/.*/void &void) {}/' > /tmp/cuda.c && \
    mkdir /opt/driver && gcc -shared -fPIC -Wl,-soname,libcuda.so.1 -o /opt/driver/libcuda.so /tmp/cuda.c

FROM base
COPY --from=wheels /opt/venv /opt/venv
COPY --from=wheels /opt/driver /opt/driver
# Python.h, without the 35 MB of libraries that Debian packs with it.
COPY --from=wheels /usr/include/python3.11 /usr/include/python3.11
COPY --from=wheels /usr/include/x86_64-linux-gnu/python3.11 /usr/include/x86_64-linux-gnu/python3.11
# The rest changes with the code and builds in seconds.
COPY pyproject.toml README.md LICENSE /opt/kolora/
COPY runner /opt/kolora/runner
COPY specs /opt/kolora/specs
COPY templates /opt/kolora/templates
COPY --chmod=755 docker/kolora /usr/local/bin/kolora
RUN /opt/venv/bin/python -m compileall -q /opt/kolora/runner && \
    install -d -m 2775 -g 0 /out /cache /home/kolora

ENV PYTHONPATH=/opt/kolora/runner \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/home/kolora \
    USER=kolora \
    LANG=C.UTF-8 \
    TMPDIR=/tmp \
    KOLORA_OUT=/out \
    KOLORA_CACHE=/cache \
    TRITON_LIBCUDA_PATH=/opt/driver \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /out
VOLUME ["/out", "/cache"]
ENTRYPOINT ["/usr/bin/tini", "-g", "--", "kolora"]
CMD ["story.yaml"]
# A plain docker build knows the version, which a test holds against the package's, and the base by its name. What it
# cannot know is told by docker/build: the base's digest, the revision, and when that was committed.
ARG BASE
ARG BASE_DIGEST=unknown
ARG VERSION=0.2.0
ARG REVISION=
ARG CREATED=
# The bill of materials, CycloneDX 1.5, of what is in the image by now: every Python package and every Debian one.
RUN --mount=type=bind,source=docker/sbom.py,target=/run/sbom.py \
    install -d /usr/share/kolora && \
    /opt/venv/bin/python /run/sbom.py "${VERSION}" "${BASE}@${BASE_DIGEST}" "${REVISION}" > /usr/share/kolora/sbom.cdx.json
# What locks name the image by, where nobody tells its digest: docker/build knows it, a plain docker build does not.
ENV KOLORA_IMAGE_SOURCE="${REVISION:+revision ${REVISION}, base ${BASE_DIGEST}}"
LABEL org.opencontainers.image.title="kolora" \
      org.opencontainers.image.description="One story file in, one finished and checkable picture story out." \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION:-unknown}" \
      org.opencontainers.image.created="${CREATED:-unknown}" \
      org.opencontainers.image.base.name="${BASE}" \
      org.opencontainers.image.base.digest="${BASE_DIGEST}" \
      kolora.sbom="/usr/share/kolora/sbom.cdx.json" \
      kolora.story.schema="1"
