"""The outputs of a run that its plan decides."""

from __future__ import annotations

from sync_pipeline.planning.run_plan import RunPlan
from sync_pipeline.smart_sync.interval import bound_text


def outputs_of(plan: RunPlan) -> dict[str, str]:
    """Return the values of `OUTPUTS` that are known before the run starts, by name."""
    outputs = {"output_run_id": plan.run.id, "output_tables": str(len(plan.tables))}
    if plan.has_several_tables:
        return outputs
    (table,) = plan.tables
    outputs["output_table"] = table.table_id
    if table.interval is not None:
        outputs["output_interval_start"] = bound_text(table.interval.start)
        outputs["output_interval_end"] = bound_text(table.interval.end)
    return outputs
