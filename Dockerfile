# One process that watches, decides, runs tasks and serves the pages; docs/deploy/README.md says how to run it.
#
#   docker build . -t formicary
#
# Versions are those of requirements-run.txt, with their hashes.
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv /opt/formicary
COPY requirements.txt requirements-run.txt ./
# setuptools builds the wheel and is no part of the image: of the other lock its lines alone.
RUN python -m venv /opt/build \
    && sed -n '/^setuptools==/,/^    # via/p' requirements.txt > requirements-build.txt \
    && /opt/build/bin/python -m pip install --quiet --require-hashes -r requirements-build.txt \
    && /opt/formicary/bin/python -m pip install --quiet --require-hashes -r requirements-run.txt
COPY . .
RUN /opt/build/bin/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /dist . \
    && /opt/formicary/bin/python -m pip install --quiet --no-deps --no-index /dist/*.whl \
    && /opt/formicary/bin/python -m pip check \
    && /opt/formicary/bin/python -m pip uninstall --quiet --yes pip

FROM ${BASE}
# git makes workspaces; ssh reaches remotes. Debian keeps no old versions, so none is named.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends git openssh-client \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 7777 formicary \
    && useradd --uid 7777 --gid 7777 --no-log-init --no-create-home --home-dir /var/lib/formicary formicary \
    && install -d -o formicary -g formicary -m 0700 /var/lib/formicary \
    && install -d -o formicary -g formicary -m 0711 /var/lib/formicary-work \
    && install -d /etc/formicary /srv/git
COPY --from=build /opt/formicary /opt/formicary
COPY docs/deploy/healthy.py /opt/formicary/healthy.py
ENV PATH=/opt/formicary/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    FORMICARY_DATA=/var/lib/formicary \
    FORMICARY_WORK=/var/lib/formicary-work \
    FORMICARY_HOST=0.0.0.0
USER 7777:7777
# formicary.toml is looked for here.
WORKDIR /etc/formicary
VOLUME ["/var/lib/formicary", "/var/lib/formicary-work"]
EXPOSE 7777
# The first TERM drains: docker stop --time must be longer than the setting `drain`.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-I", "/opt/formicary/healthy.py"]
ENTRYPOINT ["formicary"]
CMD ["serve"]
