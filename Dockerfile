# Three images from one file (docs/operations/image.md):
#   stet           the default: the four services, the operators' command line and the rules, without a shell
#   stet-operator  --target stet-operator: that on Debian with a shell, and Typst, for people and pipelines
#   stet-dev       --target stet-dev: the broker, the database and both simulators of `make up`, each as a command of its own
# BASE is CPython 3.12 on Debian, RUNTIME_BASE the C library, OpenSSL, certificates and time zones of the same Debian and
# nothing else. A release names both by digest: --build-arg BASE=python:3.12-slim-bookworm@sha256:...
ARG BASE=python:3.12-slim-bookworm
ARG RUNTIME_BASE=gcr.io/distroless/cc-debian12

# ------------------------------------------------------------------ venv: what is compiled, and never shipped
FROM ${BASE} AS venv
# the compiler that durable-rules needs; its version is the base's, as its digest fixes the release of Debian
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends binutils gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore \
    UV_NO_CACHE=1 \
    # without debug information: it holds the name of a temporary folder, and is half the size
    CFLAGS="-O2 -g0"
COPY requirements.build.lock /build/
RUN python -m venv /build/tools \
    && /build/tools/bin/pip install --require-hashes --requirement /build/requirements.build.lock
COPY requirements.runtime.lock /build/
RUN python -m venv --without-pip /opt/stet/venv \
    && /build/tools/bin/uv pip install --python /opt/stet/venv --require-hashes \
        --build-constraints /build/requirements.build.lock --requirements /build/requirements.runtime.lock
# what is in it, for those who have to answer for it: CycloneDX, and the licence of each package
RUN /build/tools/bin/cyclonedx-py environment --output-reproducible --output-format JSON \
        --output-file /opt/stet/sbom.cdx.json /opt/stet/venv/bin/python \
    && /build/tools/bin/pip-licenses --python /opt/stet/venv/bin/python --from mixed --order license --with-urls \
        --format markdown --output-file /opt/stet/licences.md
# A third of the size: what debuggers of C read, names of places and carriers that nothing of ours asks for, and of Babel's
# languages the names of units, currencies and time zones.
COPY dev/image/babel_data.py /build/
RUN find /opt/stet/venv/lib -name '*.so*' -exec strip --strip-unneeded {} + \
    && rm -r /opt/stet/venv/lib/python3.12/site-packages/phonenumbers/geodata \
        /opt/stet/venv/lib/python3.12/site-packages/phonenumbers/carrierdata \
    && /opt/stet/venv/bin/python -B /build/babel_data.py /opt/stet/venv/lib/python3.12/site-packages/babel/locale-data
COPY deploy/image/stet /opt/stet/venv/bin/

# ------------------------------------------------------------------ venv-operator, venv-dev: the same, and what these need
# Bytecode that is never compared with its source: equal wherever it is built, and nothing is written at the start.
FROM venv AS venv-operator
COPY requirements.operator.lock /build/
RUN /build/tools/bin/uv pip install --python /opt/stet/venv --require-hashes \
        --build-constraints /build/requirements.build.lock --requirements /build/requirements.operator.lock \
    && find /opt/stet/venv/lib -name '*.so' -exec strip --strip-unneeded {} + \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/stet/venv/lib \
    && /build/tools/bin/cyclonedx-py environment --output-reproducible --output-format JSON \
        --output-file /opt/stet/sbom.cdx.json /opt/stet/venv/bin/python \
    && /build/tools/bin/pip-licenses --python /opt/stet/venv/bin/python --from mixed --order license --with-urls \
        --format markdown --output-file /opt/stet/licences.md

FROM venv AS venv-dev
COPY requirements.stack.lock /build/
RUN /build/tools/bin/uv pip install --python /opt/stet/venv --require-hashes \
        --build-constraints /build/requirements.build.lock --requirements /build/requirements.stack.lock \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/stet/venv/lib \
    && /build/tools/bin/cyclonedx-py environment --output-reproducible --output-format JSON \
        --output-file /opt/stet/sbom.cdx.json /opt/stet/venv/bin/python
# the jars of Kafka, in the place where the command of the broker looks for them
ENV XDG_CACHE_HOME=/opt/stet/kafka \
    M2_REPO=/opt/stet/kafka/repository \
    REQUESTS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt
WORKDIR /build/jars
COPY dev/__init__.py dev/kafka_jars.py dev/
COPY shared/__init__.py shared/
COPY shared/contracts/__init__.py shared/contracts/errors.py shared/contracts/
RUN /opt/stet/venv/bin/python -m dev.kafka_jars

# ------------------------------------------------------------------ code: ours, with its bytecode
FROM ${BASE} AS code
WORKDIR /build/stet
COPY LICENSE ./
COPY shared shared
COPY services services
COPY ops ops
RUN python -m compileall -q --invalidation-mode unchecked-hash -s /build/stet -p /opt/stet /build/stet

FROM code AS code-dev
COPY dev dev
RUN python -m compileall -q --invalidation-mode unchecked-hash -s /build/stet -p /opt/stet /build/stet/dev

# ------------------------------------------------------------------ assembly: what stet has more than its base
FROM ${RUNTIME_BASE} AS runtime-base

FROM venv AS assembly
COPY --from=runtime-base / /build/runtime-base
COPY dev/__init__.py /build/dev/
COPY dev/image/__init__.py dev/image/runtime_root.py dev/image/bytecode.py /build/dev/image/
WORKDIR /build
RUN python -m dev.image.runtime_root /build/runtime-base /build/root /opt/stet/venv \
    && find /build/root/usr/local -name '*.so*' -exec strip --strip-unneeded {} + \
    && strip --strip-unneeded /build/root/usr/local/bin/python3.12
COPY --from=code /build/stet /opt/stet
# without columns, which only the carets of a traceback show
RUN PYTHONNODEBUGRANGES=1 PYTHONPATH=/opt/stet /opt/stet/venv/bin/python -B -m dev.image.bytecode /opt/stet /build/root/usr/local/lib/python3.12

# ------------------------------------------------------------------ debian: what the images with a shell begin with
FROM ${BASE} AS debian
RUN groupadd --gid 10001 stet \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin stet
ENV PATH=/opt/stet/venv/bin:$PATH \
    PYTHONPATH=/opt/stet \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /opt/stet

# ------------------------------------------------------------------ stet-dev
FROM debian AS stet-dev
COPY --from=venv-dev /opt/stet /opt/stet
COPY --from=code-dev /build/stet /opt/stet
COPY rules /opt/stet/rules
ENV XDG_CACHE_HOME=/opt/stet/kafka
# where compose.yaml puts a volume: a new one gets the owner that the folder has here
RUN mkdir /data && chown 10001:10001 /data
ARG BASE
ARG VERSION=0
ARG REVISION=unknown
ARG SOURCE=
ENV STET_COMMIT=${REVISION}
LABEL org.opencontainers.image.title="stet-dev" \
      org.opencontainers.image.description="Broker, database and simulators for trying Stet; not for production" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE}"
USER 10001:10001
CMD ["python", "-m", "dev.broker", "--help"]

# ------------------------------------------------------------------ stet-operator
FROM debian AS stet-operator
COPY --from=venv-operator /opt/stet /opt/stet
COPY --from=code /build/stet /opt/stet
COPY rules /opt/stet/rules
ENV STET_RULES_DIR=/opt/stet/rules
ARG BASE
ARG VERSION=0
ARG REVISION=unknown
ARG SOURCE=
ENV STET_COMMIT=${REVISION}
LABEL org.opencontainers.image.title="stet-operator" \
      org.opencontainers.image.description="The command line of Stet for people and pipelines, with a shell and the evidence as PDF" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE}"
USER 10001:10001
CMD ["stet", "--help"]

# ------------------------------------------------------------------ stet
FROM runtime-base AS stet
COPY --from=assembly /build/root /
COPY --from=assembly /opt/stet/venv /opt/stet/venv
COPY --from=assembly /opt/stet/sbom.cdx.json /opt/stet/licences.md /opt/stet/
COPY --from=code /build/stet /opt/stet
ENV PATH=/opt/stet/venv/bin:/usr/local/bin:/usr/bin:/bin \
    LANG=C.UTF-8 \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    PYTHONPATH=/opt/stet \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /opt/stet
# the publisher's own rules: a volume over this folder, or another folder in STET_RULES_DIR
COPY rules /opt/stet/rules
ENV STET_RULES_DIR=/opt/stet/rules
ARG RUNTIME_BASE
ARG VERSION=0
ARG REVISION=unknown
ARG SOURCE=
ENV STET_COMMIT=${REVISION}
LABEL org.opencontainers.image.title="stet" \
      org.opencontainers.image.description="Asks the people outside a publisher's Consonance one clear question on WhatsApp" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${RUNTIME_BASE}"
USER 10001:10001
EXPOSE 8080 9090
CMD ["stet", "--help"]
