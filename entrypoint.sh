#!/bin/sh
# One image, two roles. Dataflow starts a worker through the image's entrypoint, with the flags of every SDK container
# (https://s.apache.org/beam-fn-api-container-contract). Without these flags, the template's launcher is started.
case " $* " in
*" --id="* | *" --logging_endpoint="* | *" --control_endpoint="* | *" --provision_endpoint="* | *" --worker_pool"*)
    exec /opt/apache/beam/boot "$@"
    ;;
*)
    exec /opt/google/dataflow/python_template_launcher "$@"
    ;;
esac
