"""What the parameters of PostgreSQL must be together."""

from __future__ import annotations

from collections.abc import Iterator

from sync_pipeline.parameters.hosts import is_alloydb, is_this_machine
from sync_pipeline.parameters.parameter import ParameterValues


def contradictions(values: ParameterValues) -> Iterator[str]:
    """Yield a sentence for each way to log in that cannot be meant."""
    host, instance = values["postgresql_host"], values["postgresql_instance"]
    is_cloud_sql = instance is not None and not is_alloydb(instance)
    if instance is not None and host is not None:
        yield "postgresql_host and postgresql_instance are both given: leave one of them out"
    if is_cloud_sql:
        both = [name for name in ("postgresql_sslmode", "postgresql_sslrootcert") if name in values.given]
        if both:
            yield f"postgresql_instance brings the certificate to verify the server by: leave {' and '.join(both)} out"
    if not values["postgresql_iam_login"]:
        return
    if "postgresql_password" in values.given:
        yield "postgresql_iam_login is true, and postgresql_password is given: leave one of them out"
    if values["postgresql_require_auth"] != "any":
        yield "postgresql_iam_login is true, and its token is no password for postgresql_require_auth: leave it out"
    is_weak = values["postgresql_sslmode"] in ("disable", "allow", "prefer")
    if is_weak and not is_cloud_sql and not (host is not None and is_this_machine(host)):
        yield (
            f"postgresql_iam_login is true, and postgresql_sslmode is {values['postgresql_sslmode']}: the token must "
            "not be sent in the clear; use verify-full or verify-ca with postgresql_sslrootcert, or at least require"
        )
