# One image for all three services; docker-compose.yml says which command each runs.
FROM python:3.11-slim AS build
WORKDIR /src
RUN python -m venv /opt/meshtune
ENV PATH=/opt/meshtune/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
# torch is by far the largest layer: it changes only with its pin. Where the default index has
# builds for GPUs only, TORCH_INDEX names one with the far smaller builds for processors.
ARG TORCH_INDEX=
COPY constraints.txt ./
RUN pip install ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} "$(grep '^torch==' constraints.txt)"
COPY pyproject.toml README.md LICENSE ./
COPY engine engine
COPY db db
COPY backend backend
COPY dashboard dashboard
COPY src src
# The PostgreSQL driver is in, so that one image serves both databases.
RUN pip install -c constraints.txt ".[postgres]" && pip check

# The handbook; the tools that build it stay behind.
FROM build AS docs
RUN pip install -c constraints.txt ".[docs]"
COPY CONTRIBUTING.md CHANGELOG.md mkdocs.yml ./
COPY docs docs
RUN NO_MKDOCS_2_WARNING=1 mkdocs build --strict

FROM python:3.11-slim
RUN useradd --create-home --uid 10001 meshtune && install -d -o meshtune /state
COPY --from=build /opt/meshtune /opt/meshtune
COPY --from=docs /src/src/meshtune/handbook /opt/meshtune/lib/python3.11/site-packages/meshtune/handbook
ENV PATH=/opt/meshtune/bin:$PATH PYTHONUNBUFFERED=1 MESHTUNE_STATE_DIR=/state
USER meshtune
WORKDIR /home/meshtune
VOLUME /state
EXPOSE 8700 8701
CMD ["meshtune", "doctor"]
