#!/bin/sh
# One image, three roles. Dataflow starts a worker through the image's entrypoint, with the flags of every SDK container
# (https://s.apache.org/beam-fn-api-container-contract). A job of Cloud Run has a name in the environment
# (https://cloud.google.com/run/docs/container-contract#jobs-env-vars), and runs the sync in this container. Else the
# template's launcher is started.
case " $* " in
*" --id="* | *" --logging_endpoint="* | *" --control_endpoint="* | *" --provision_endpoint="* | *" --worker_pool"*)
    exec /opt/apache/beam/boot "$@"
    ;;
esac
if [ -n "${CLOUD_RUN_JOB:-}" ]; then
    exec python /template/main.py "$@"
fi
exec /opt/google/dataflow/python_template_launcher "$@"
