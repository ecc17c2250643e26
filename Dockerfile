# syntax=docker/dockerfile:1
#
# Build:  docker build -t streamd .
# Run:    docker run --rm -p 127.0.0.1:4567:4567 -v streamd-data:/data --stop-timeout 30 streamd

# The wheel and everything it needs are installed into one folder here, so that the image below has neither a compiler
# nor a package cache, and no file of the checkout.
FROM python:3.12-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY streamd ./streamd
RUN python -m venv /opt/streamd && /opt/streamd/bin/pip install .

FROM python:3.12-slim
LABEL org.opencontainers.image.title="streamd" \
      org.opencontainers.image.description="The Kinesis Data Streams API, durable and self-hosted" \
      org.opencontainers.image.licenses="Apache-2.0"

# Fixed numbers: whoever mounts a folder of the host must be able to give it to this user beforehand. The folder exists
# in the image so that a new volume takes its owner from it.
RUN groupadd --system --gid 10001 streamd \
 && useradd --system --uid 10001 --gid streamd --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin streamd \
 && install --directory --owner=streamd --group=streamd --mode=0700 /data
COPY --from=build /opt/streamd /opt/streamd

# Lines reach `docker logs` when they are written, and the read-only image is never asked to keep bytecode.
ENV PATH=/opt/streamd/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 4567

# The address is that of the container itself, so the check works whatever port is published.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:4567/healthz', timeout=2).close()"]

# SIGTERM lets the daemon finish what it has accepted. Nothing acknowledged depends on it: that is on disk already.
STOPSIGNAL SIGTERM

# Inside a container the daemon must listen on every address, because a published port arrives on the container's own,
# not on its loopback; streamd refuses to do that without signatures unless it is told that this is meant. --insecure
# says so: who can reach the container may do everything. That is right for `docker run -p 127.0.0.1:…` and for a
# private network of containers, and wrong for anything else: there, mount a file of access keys and give the command
# that checks them,
#   docker run … -v ./keys.toml:/run/secrets/keys.toml:ro streamd \
#     serve --host 0.0.0.0 --data /data --auth /run/secrets/keys.toml
ENTRYPOINT ["streamd"]
CMD ["serve", "--host", "0.0.0.0", "--port", "4567", "--data", "/data", "--insecure"]
