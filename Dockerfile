# One recipe, seven images: docker build --build-arg SERVICE=billing .
# SERVICE is identity, billing, payment, notifier, stream, sandbox or entry.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS packages
ARG SERVICE
COPY deploy/locks/${SERVICE}.lock /tmp/requirements.lock
# A folder of its own: the last stage takes it as it is, without pip's cache.
RUN pip install --no-cache-dir --no-deps --no-compile --require-hashes \
    --target /packages -r /tmp/requirements.lock

FROM ${PYTHON_IMAGE} AS code
ARG SERVICE
COPY . /source
# Only what this process imports: no tests, no other service.
RUN PYTHONPATH=/source python /source/deploy/images/gather.py "${SERVICE}" /source /app && mkdir /data

FROM ${PYTHON_IMAGE}
ARG SERVICE
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="songhe-${SERVICE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PYTHONPATH=/app:/packages \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SONGHE_REVISION=${REVISION}
COPY --from=packages /packages /packages
COPY --from=code /app /app
# The sandbox keeps its books here; a fresh volume takes the owner from the image.
COPY --from=code --chown=10001:10001 /data /data
WORKDIR /app
# A number, so that Kubernetes can see that it is not root.
USER 10001:10001
HEALTHCHECK --interval=5s --timeout=5s --start-period=90s --retries=6 \
    CMD ["python", "/app/probe.py"]
ENTRYPOINT ["python", "/app/start.py"]
