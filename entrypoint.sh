#!/bin/sh
# One image, two roles. Dataflow starts a worker by the image's entrypoint, with the flags that every SDK container gets
# (https://s.apache.org/beam-fn-api-container-contract). What is started without them is the template's launcher.
case " $* " in
*" --id="* | *" --logging_endpoint="* | *" --control_endpoint="* | *" --provision_endpoint="* | *" --worker_pool"*)
    exec /opt/apache/beam/boot "$@"
    ;;
*)
    exec /opt/google/dataflow/python_template_launcher "$@"
    ;;
esac
