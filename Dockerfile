# One image for both roles of a Flex Template: the launcher, which runs main.py once, and the workers. So launcher and
# workers run the same code, and neither installs anything at start.
#
#   docker build --build-arg IMAGE=REGION-docker.pkg.dev/PROJECT/REPOSITORY/sync-to-bigquery:TAG --tag … .
#
# `make images` adds the digests of the three base images. Without them, the same Dockerfile may give another image
# tomorrow. The tag of the Beam image is the version in requirements.txt; a test compares them. For the launcher's image,
# Google recommends `latest`:
# https://cloud.google.com/dataflow/docs/reference/flex-templates-base-images
ARG PYTHON_IMAGE=python:3.13-slim
ARG BEAM_IMAGE=apache/beam_python3.13_sdk:2.77.0
ARG LAUNCHER_IMAGE=gcr.io/dataflow-templates-base/python313-template-launcher-base:latest

FROM ${LAUNCHER_IMAGE} AS launcher

# Beam's image has the starter of its workers, and a setuptools, so that none is downloaded. Its packages would only be
# there twice, in other versions.
FROM ${BEAM_IMAGE} AS beam

WORKDIR /source
COPY pyproject.toml setup.py README.md ./
COPY sync_pipeline/ sync_pipeline/
RUN pip wheel --no-cache-dir --no-deps --no-index --no-build-isolation --wheel-dir=/wheels .

FROM ${PYTHON_IMAGE}

# https://cloud.google.com/dataflow/docs/guides/templates/configuring-flex-templates
COPY --from=launcher /opt/google/dataflow/python_template_launcher /opt/google/dataflow/python_template_launcher
# https://cloud.google.com/dataflow/docs/guides/build-container-image
COPY --from=beam /opt/apache/beam /opt/apache/beam

WORKDIR /template

# A separate first layer, which changes only with the lock file. The hashes detect manipulated packages, and wheels need
# no compiler.
COPY requirements.txt ./
RUN pip install --no-cache-dir --root-user-action=ignore --require-hashes --only-binary=:all: --requirement requirements.txt

COPY main.py entrypoint.sh ./
COPY --from=beam /wheels /wheels
RUN pip install --no-cache-dir --root-user-action=ignore --no-deps --no-index /wheels/*.whl \
    && pip check \
    && python -m sync_pipeline.sbom >sbom.cdx.json

# FLEX_TEMPLATE_PYTHON_REQUIREMENTS_FILE and FLEX_TEMPLATE_PYTHON_SETUP_FILE are not set: with them the launcher, and then
# each worker, would download and install packages at every start. Workers need no separate environment either.
ENV FLEX_TEMPLATE_PYTHON_PY_FILE=/template/main.py \
    RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1

# Jobs show it among their options, so that programs find the template of a job; it may be missing.
ARG TEMPLATE=
ENV TEMPLATE_FILE=${TEMPLATE}

# The launcher passes this name of the workers' image to Dataflow; see sync_pipeline/parameters/beam_options.py. Last,
# because it differs in every build.
ARG IMAGE
ENV SDK_CONTAINER_IMAGE=${IMAGE}
# Fail here instead of minutes later in a job that cannot start. The steps above are cached, so a rebuild takes seconds.
RUN [ -n "${SDK_CONTAINER_IMAGE}" ] || { echo "This image must be built with its own name, which the workers need:" \
    "docker build --build-arg=IMAGE=NAME --tag=NAME ." >&2; exit 1; }

# No USER: Google's launcher writes below /var/log, and Dataflow mounts the workers' folders for root.
# https://github.com/GoogleCloudPlatform/python-docs-samples/issues/13213
# No HEALTHCHECK: Dataflow monitors its containers itself and ignores it.
ENTRYPOINT ["/bin/sh", "/template/entrypoint.sh"]
