# kolora's image: CUDA 12.1 by the locked wheels, torch 2.3.1, Python 3.11. The driver comes from the container toolkit.
#   docker build -t kolora .        (docker/build also records the base's digest, the version and the revision)
#   docker run --gpus all -v ./out:/out kolora story.yaml
# Behind a proxy with its own authority: --secret id=ca,src=/path/to/ca-bundle.crt
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS wheels
ENV DEBIAN_FRONTEND=noninteractive PIP_DISABLE_PIP_VERSION_CHECK=1 UV_LINK_MODE=copy
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends python3 python3-venv ca-certificates
RUN python3 -m venv /opt/venv
COPY requirements.lock /tmp/requirements.lock
# uv is one of the locked packages: it goes in first, because it installs the rest several times faster.
RUN --mount=type=secret,id=ca,target=/run/ca.crt \
    if [ -f /run/ca.crt ]; then export SSL_CERT_FILE=/run/ca.crt PIP_CERT=/run/ca.crt; fi; \
    sed -n '/^uv==/,/[^\\]$/p' /tmp/requirements.lock > /tmp/uv.txt && \
    /opt/venv/bin/pip install -q --no-cache-dir --no-deps --require-hashes -r /tmp/uv.txt && \
    /opt/venv/bin/uv pip install -q --no-cache --python /opt/venv/bin/python --no-deps --require-hashes \
        --compile-bytecode -r /tmp/requirements.lock

FROM ${BASE}
ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get update -qq && \
    apt-get install -y -qq --no-install-recommends python3 tini ca-certificates fonts-wqy-microhei && \
    apt-get clean && rm -rf /var/lib/apt/lists/*
COPY --from=wheels /opt/venv /opt/venv
# The rest changes with the code and builds in seconds.
COPY pyproject.toml README.md LICENSE /opt/kolora/
COPY runner /opt/kolora/runner
COPY specs /opt/kolora/specs
COPY templates /opt/kolora/templates
COPY --chmod=755 docker/kolora /usr/local/bin/kolora
RUN PYTHONPATH=/opt/kolora /opt/venv/bin/python -m compileall -q /opt/kolora/runner && \
    install -d -m 2775 -g 0 /out /cache /home/kolora

ENV PYTHONPATH=/opt/kolora \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/home/kolora \
    USER=kolora \
    LANG=C.UTF-8 \
    TMPDIR=/tmp \
    KOLORA_OUT=/out \
    KOLORA_CACHE=/cache \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /out
VOLUME ["/out", "/cache"]
ENTRYPOINT ["/usr/bin/tini", "-g", "--", "kolora"]
CMD ["story.yaml"]
ARG BASE
ARG BASE_DIGEST=unknown
ARG VERSION=unknown
ARG REVISION=
# What locks name the image by, where nobody tells its digest: docker/build knows it, a plain docker build does not.
ENV KOLORA_IMAGE_SOURCE="${REVISION:+revision ${REVISION}, base ${BASE_DIGEST}}"
LABEL org.opencontainers.image.title="kolora" \
      org.opencontainers.image.description="One story file in, one finished and checkable picture story out." \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION:-unknown}" \
      org.opencontainers.image.base.name="${BASE}" \
      org.opencontainers.image.base.digest="${BASE_DIGEST}" \
      kolora.story.schema="1"
