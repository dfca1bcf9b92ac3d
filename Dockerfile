# One image for both roles of a Flex Template: the launcher, which runs main.py once, and the workers. What the launcher
# has checked and planned with is what the workers run, and neither installs anything when it starts.
#
#   docker build --build-arg IMAGE=REGION-docker.pkg.dev/PROJECT/REPOSITORY/sync-to-bigquery:TAG --tag … .
#
# `make images` adds their digests to the two images it begins with; as long as there are none, the same Dockerfile may give
# another image tomorrow. The tag of Beam's is the version in requirements.txt; a test compares them. Of the launcher's, Google recommends `latest`:
# https://cloud.google.com/dataflow/docs/reference/flex-templates-base-images
ARG BEAM_IMAGE=apache/beam_python3.13_sdk:2.77.0
ARG LAUNCHER_IMAGE=gcr.io/dataflow-templates-base/python313-template-launcher-base:latest

FROM ${LAUNCHER_IMAGE} AS launcher

FROM ${BEAM_IMAGE}

# https://cloud.google.com/dataflow/docs/guides/templates/configuring-flex-templates
COPY --from=launcher /opt/google/dataflow/python_template_launcher /opt/google/dataflow/python_template_launcher

WORKDIR /template

# By themselves, and first: this layer changes with the lock file only. Whoever changes a package on its way here is
# found out by the hashes.
COPY requirements.txt ./
RUN pip install --no-cache-dir --root-user-action=ignore --require-hashes --requirement requirements.txt

# With the setuptools of Beam's image, and not with one that is downloaded for it.
COPY pyproject.toml setup.py README.md main.py entrypoint.sh ./
COPY sync_pipeline/ sync_pipeline/
RUN pip install --no-cache-dir --root-user-action=ignore --no-deps --no-index --no-build-isolation . \
    && rm -rf build ./*.egg-info \
    && pip check \
    && python -m sync_pipeline.sbom >sbom.cdx.json

# No FLEX_TEMPLATE_PYTHON_REQUIREMENTS_FILE and no FLEX_TEMPLATE_PYTHON_SETUP_FILE: with them the launcher, and then each
# worker, would download and install at every start. And no environment of its own for each worker to install into.
ENV FLEX_TEMPLATE_PYTHON_PY_FILE=/template/main.py \
    RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1

# By this name the launcher tells Dataflow which image the workers run; see sync_pipeline/parameters/beam_options.py. Last, as it differs
# in every build.
ARG IMAGE
ENV SDK_CONTAINER_IMAGE=${IMAGE}
# Here, and not in minutes of a job that cannot start. The steps above are kept: building again takes seconds.
RUN [ -n "${SDK_CONTAINER_IMAGE}" ] || { echo "This image needs its own name, by which the workers get it. Build it with:" \
    "docker build --build-arg=IMAGE=NAME --tag=NAME ." >&2; exit 1; }

# No USER: Google's launcher writes below /var/log, and Dataflow mounts the workers' folders for root.
# https://github.com/GoogleCloudPlatform/python-docs-samples/issues/13213
# No HEALTHCHECK: Dataflow looks after its containers itself, and never asks.
ENTRYPOINT ["/bin/sh", "/template/entrypoint.sh"]
