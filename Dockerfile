# Worker and console of server mode. The tag names a version, not a digest: none could be looked up
# where this was written; pin the digest that you pulled.
FROM python:3.11.14-slim-bookworm AS build
WORKDIR /build
RUN python -m venv /opt/wap
COPY locks/server.txt locks/
RUN /opt/wap/bin/python -m pip install --no-cache-dir --disable-pip-version-check --require-hashes -r locks/server.txt
COPY pyproject.toml README.md LICENSE NOTICE run_workflow.py ./
COPY wap wap
COPY catalog catalog
COPY checks checks
RUN /opt/wap/bin/python -m pip install --no-cache-dir --disable-pip-version-check --no-build-isolation --no-deps .

FROM python:3.11.14-slim-bookworm AS base
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /project --shell /usr/sbin/nologin wap \
  && install -d -o wap -g wap /project
COPY --from=build /opt/wap /opt/wap
COPY deploy/lake.py /opt/wap/deploy/lake.py
ENV PATH=/opt/wap/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 WAP_PROJECT=/project
WORKDIR /project

# Spark Connect: executors read with our own reader, so they have the worker's Python and packages.
FROM base AS spark
RUN apt-get update && apt-get install -y --no-install-recommends openjdk-17-jre-headless \
  && rm -rf /var/lib/apt/lists/*
USER 10001:10001
ENV PYSPARK_PYTHON=/opt/wap/bin/python
ENTRYPOINT ["/opt/wap/lib/python3.11/site-packages/pyspark/bin/spark-submit"]
CMD ["--help"]

FROM base
USER 10001:10001
ENTRYPOINT ["wap"]
CMD ["worker"]
