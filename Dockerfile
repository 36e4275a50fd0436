# One image for everything: `noukai-worker web`, `worker`, `stream`; Flower by its own entry point (docker-compose.yml).
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY noukai_sdk/ noukai_sdk/
COPY noukai_worker/ noukai_worker/
RUN pip install ".[all]"

RUN useradd --uid 10001 --create-home noukai
USER noukai
WORKDIR /home/noukai

EXPOSE 8000
STOPSIGNAL SIGTERM
ENTRYPOINT ["noukai-worker"]
CMD ["--help"]
