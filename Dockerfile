# One image for all processes: the command chooses which. docs/deploy/containers.md says how to run it.
ARG PYTHON=python:3.13-slim

FROM ${PYTHON} AS build
WORKDIR /build
RUN python -m venv /opt/ringback
# Unlike `pip install -c`, the variable pins what builds the package, too.
ENV PIP_CONSTRAINT=/build/constraints.txt PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY constraints.txt pyproject.toml README.md LICENSE schema.sql ./
COPY console console
COPY enrichment enrichment
COPY receiver receiver
COPY rig rig
COPY sandbox sandbox
COPY store store
COPY submitter submitter
# With byte code: the root file system of a running container may be read-only.
RUN /opt/ringback/bin/python -m pip install --compile .

FROM ${PYTHON}
RUN useradd --system --user-group --uid 10001 --no-create-home --home-dir /var/lib/ringback ringback \
 && install -d -o ringback -g ringback -m 700 /var/lib/ringback
COPY --from=build /opt/ringback /opt/ringback
ENV PATH=/opt/ringback/bin:$PATH PYTHONDONTWRITEBYTECODE=1 RINGBACK_HOME=/var/lib/ringback PORT=8000
WORKDIR /opt/ringback
USER 10001:10001
EXPOSE 8000
# Of the receiver; compose.yaml switches it off for the others. /healthz, because a restart would not mend a database.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
    CMD ["python", "-ISc", "import http.client, os; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['PORT']), timeout=3); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
CMD ["python", "-m", "receiver"]
