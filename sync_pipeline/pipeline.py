"""A run: plan, then read, transform, stage and publish."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, StandardOptions
from apache_beam.runners.runner import PipelineResult
from google.cloud import bigquery

from sync_pipeline.bigquery_api.client import open_client
from sync_pipeline.errors import ConfigError
from sync_pipeline.failures import FAILURES, Failure, error_of_tables
from sync_pipeline.output.cloud_log import CloudLog
from sync_pipeline.output.progress import PLANNING, PROGRESS, READING
from sync_pipeline.output.run_log import on_screen, show_own_lines_only
from sync_pipeline.parameters.beam_options import complete_job_options, runs_here, runs_on_dataflow, show_outputs
from sync_pipeline.parameters.run_config import RunConfig
from sync_pipeline.planning.lanes import Lane, key_lanes_of, lanes_of
from sync_pipeline.planning.make_plan import make_plan
from sync_pipeline.planning.outputs import outputs_of
from sync_pipeline.planning.plan import TableSync
from sync_pipeline.planning.plan_head import HEAD_LINES
from sync_pipeline.planning.plan_selection import plan_selection
from sync_pipeline.planning.plan_text import plan_lines
from sync_pipeline.planning.run_estimate import estimate_run
from sync_pipeline.planning.run_plan import RunPlan
from sync_pipeline.planning.worker_count import choose_worker_count, parts_of
from sync_pipeline.publishing.cancellation import cleanup_on_signal
from sync_pipeline.publishing.clean_up import remove_staged_once
from sync_pipeline.publishing.cloud_storage import check_staging
from sync_pipeline.publishing.dead_letters import DescribeDeadLetters, dead_letter_target
from sync_pipeline.publishing.finished_splits import FinishedSplits, manifest_folder
from sync_pipeline.publishing.outcomes import Outcomes
from sync_pipeline.publishing.publish import PublishStagedFiles
from sync_pipeline.publishing.run_record import RunRecord
from sync_pipeline.publishing.stage_splits import StageSplits
from sync_pipeline.publishing.staged_files import StagedFile
from sync_pipeline.publishing.staging import WriteStagedFiles
from sync_pipeline.publishing.staging_target import rows_target
from sync_pipeline.sources import open_source
from sync_pipeline.sources.keys import KeyReader
from sync_pipeline.sources.reading import ReadRows
from sync_pipeline.sources.source import BATCHES, DEAD_LETTERS, HoldsReads, ReadSplit, Source, SplitReader, TableRead
from sync_pipeline.transforms.batches import ApplyTransformation, Transformation

_LOGGER = logging.getLogger(__name__)

# Cloud Run sets it: the same for all attempts of a job's execution.
# https://cloud.google.com/run/docs/container-contract#jobs-env-vars
EXECUTION_VARIABLE = "CLOUD_RUN_EXECUTION"


def build_pipeline(plan: RunPlan, options: PipelineOptions, outcomes: Outcomes | None = None) -> beam.Pipeline:
    """Return the Beam steps of the run, whose number does not grow with the tables. Reads nothing.

    Elements are pairs of a table's number in the plan and a split, a batch, a dead letter, a file or a failure.
    `outcomes`: see `PublishStagedFiles`.
    """
    pipeline = beam.Pipeline(options=options)
    publish = PublishStagedFiles(plan, outcomes, _cloud_log(options))
    tables = {table.number: table for table in plan.tables if table.selection is None}
    if not tables:
        # Queries move the rows, so the run reads and stages nothing.
        pipeline | "NoFiles" >> beam.Create([]) | "Publish" >> publish
        return pipeline
    lanes = lanes_of(plan)
    elements = pipeline | "Lanes" >> beam.Create(lanes, reshuffle=False)
    if len(lanes) > 1:
        # Without a reshuffle, Beam would read all lanes on the worker that created the list.
        elements |= "SpreadLanes" >> beam.Reshuffle()
    splits = elements | "TakeSplits" >> beam.FlatMap(lambda lane: lane.splits)
    read = read_tables(tables.values(), plan.run.id)
    if runs_here(options) or any(len(lane.splits) > 1 for lane in lanes):
        # Nothing is attempted again in this process. Batches that go from step to step would cost as much CPU as
        # decoding them does; on Dataflow, the steps show how far a run is.
        finished = None if runs_here(options) else FinishedSplits(manifest_folder(plan))
        staged = splits | "StageSplits" >> StageSplits(read, tables, finished)
    else:
        staged = stage_in_steps(splits, read, tables)
    if any(table.of_keys is not None for table in plan.tables):
        staged = (staged, stage_keys(pipeline, staged, plan, options)) | "RowsAndKeys" >> beam.Flatten()
    staged | "Publish" >> publish
    return pipeline


def _cloud_log(options: PipelineOptions) -> CloudLog | None:
    """Return where the workers of a job on Dataflow write the fields of their reports."""
    if not runs_on_dataflow(options):
        return None
    cloud = options.view_as(GoogleCloudOptions)
    return CloudLog(cloud.project or "", cloud.region or "", cloud.job_name or "")


def stage_keys(
    pipeline: beam.Pipeline, staged: beam.PCollection, plan: RunPlan, options: PipelineOptions
) -> beam.PCollection:
    """Read and stage the keys of the tables that need them, when all rows are staged; return the files and failures.

    A row that appears at the source before its key is read, and after the rows are read, only has a key too many. The
    other way round it would have a key too few, and be deleted.
    """
    tables = {table.number: keys for table in plan.tables if (keys := table.of_keys) is not None}
    lanes = key_lanes_of(plan)
    elements = pipeline | "KeyLanes" >> beam.Create(lanes, reshuffle=False)
    if len(lanes) > 1:
        elements |= "SpreadKeyLanes" >> beam.Reshuffle()
    # The side input ends with the last attempt to read rows.
    splits = elements | "TakeKeySplits" >> beam.FlatMap(splits_after_rows, beam.pvalue.AsList(staged))
    read = read_tables(tables.values(), plan.run.id)
    if read.opens_sessions and not runs_here(options):
        return stage_in_steps(splits, read, tables, "Keys")
    finished = None if runs_here(options) else FinishedSplits(f"{manifest_folder(plan)}keys/")
    return splits | "StageKeys" >> StageSplits(read, tables, finished)


def splits_after_rows(lane: Lane, staged: Sequence[tuple[int, StagedFile | Failure]]) -> list[tuple[int, ReadSplit]]:
    """Return the splits of a lane without those of tables whose rows could not be staged."""
    failed = {number for number, element in staged if isinstance(element, Failure)}
    return [(number, split) for number, split in lane.splits if number not in failed]


def stage_in_steps(
    splits: beam.PCollection, read: ReadRows, tables: Mapping[int, TableSync], what: str = ""
) -> beam.PCollection:
    """Read, transform and stage splits, in a step each, whose labels end with `what`; return the files and failures."""
    rows = splits | f"Read{what}" >> read
    files = rows[BATCHES] | f"Transform{what}" >> ApplyTransformation(
        {
            number: Transformation(table.transformation, table.schema, table.config.hash_key)
            for number, table in tables.items()
        }
    )
    targets = {number: rows_target(table) for number, table in tables.items()}
    staged = [files | f"Stage{what}" >> WriteStagedFiles(targets, read.run_id), rows[FAILURES]]
    with_letters = {number: table for number, table in tables.items() if table.dead_letters}
    if with_letters:
        letter_targets = {number: dead_letter_target(table) for number, table in with_letters.items()}
        letters = rows[DEAD_LETTERS] | "DescribeDeadLetters" >> DescribeDeadLetters(with_letters)
        staged.append(letters | "StageDeadLetters" >> WriteStagedFiles(letter_targets, read.run_id))
    return staged | f"Staged{what}" >> beam.Flatten()


def read_tables(tables: Collection[TableSync], run_id: str) -> ReadRows:
    """Return the transform that reads the splits of tables into batches, dead letters and failures."""
    sources = {table.number: open_source(table.config) for table in tables}
    reads = {
        table.number: TableRead(
            _reader(sources[table.number], table),
            table.config.batch_size,
            keeps_dead_letters=table.dead_letters is not None,
            table=table.table_id if len(tables) > 1 else "",
            counted="keys" if table.reads_keys else "rows",
        )
        for table in tables
    }
    # All tables of a run have the same source.
    read = next(iter(sources.values())).transform(reads, run_id)
    assert isinstance(read, ReadRows), "every source derives its transform from it"
    return read


def _reader(source: Source, table: TableSync) -> SplitReader:
    reader = source.reader(table.read_schema)
    return KeyReader(reader) if table.reads_keys else reader


def run(config: RunConfig, options: PipelineOptions, record: RunRecord | None = None) -> PipelineResult | None:
    """Plan the run and start it. With `dry_run`, start nothing.

    On Dataflow this returns when the job is submitted, so everything after the read is a step of the pipeline. On a
    local runner it returns when the rows are published. The `record` gets the plan and the outcomes.

    Raises:
        SyncError: the run, or a table of it, failed.
    """
    if runs_on_dataflow(options):
        complete_job_options(options, config, os.environ)
    # A dry run stages nothing.
    root = "" if config.dry_run and not given_location(options) else staging_root(options)
    if root:
        check_staging(root)
    client = open_client(config.destination_project)
    PROGRESS.begin(PLANNING)
    plan = plan_run(config, client, root, holds_reads=runs_here(options))
    PROGRESS.begin("")
    if config.dry_run:
        if record is not None:
            record.dry_run = plan
        if plan.failed:
            errors = {table.name: table.error for table in plan.failed}
            raise error_of_tables(errors, len(plan.tables) + len(plan.failed))
        return None
    show_outputs(options, outputs_of(plan), os.environ)
    lines = plan_lines(plan)
    if runs_on_dataflow(options) and (chosen := choose_worker_count(options, parts_of(plan))) is not None:
        lines.append(chosen)
    for number, line in enumerate(lines):
        is_seen = number < HEAD_LINES or line.startswith(("plan: risk: ", "plan: failed: "))
        _LOGGER.info("%s", line, extra=on_screen(line.removeprefix("plan: ") if is_seen else ""))
    if not runs_here(options):
        return build_pipeline(plan, options).run()
    # Beam's DirectRunner uses FnApiRunner in the end, but would first try to download another
    # runner, and may run a failed pipeline twice.
    options.view_as(StandardOptions).runner = "FnApiRunner"
    show_own_lines_only()
    outcomes = record.begin(plan) if record is not None else None
    try:
        estimate = estimate_run(plan)
        PROGRESS.begin(READING, estimate.rows if estimate.is_complete and estimate.rows else None)
        with cleanup_on_signal(plan), held_reads(plan) as held:
            result = build_pipeline(held, options, outcomes).run()
            result.wait_until_finish()
        return result
    except BaseException:
        # Nothing retries the steps of this process, so delete the staged files now. A failure to delete is only logged.
        remove_staged_once(plan.tables)
        raise
    finally:
        PROGRESS.begin("")
        if record is not None:
            record.end()


@contextlib.contextmanager
def held_reads(plan: RunPlan) -> Iterator[RunPlan]:
    """Keep what the reads of a plan need from the launcher, and yield the plan with it. Raises SyncError."""
    with contextlib.ExitStack() as kept:
        tables = []
        for table in plan.tables:
            source = open_source(table.config)
            read = kept.enter_context(source.hold(table.read)) if isinstance(source, HoldsReads) else table.read
            tables.append(replace(table, read=read))
        yield replace(plan, tables=tuple(tables))


def plan_run(config: RunConfig, client: bigquery.Client, root: str, *, holds_reads: bool = False) -> RunPlan:
    """Return the plan of one sync, or of the tables that the parameters select. Raises SyncError.

    `holds_reads`: whether this process will call `held_reads`.
    """
    started_at = datetime.now(UTC)
    execution = os.environ.get(EXECUTION_VARIABLE, "")
    if config.single is not None:
        source = open_source(config.single)
        if holds_reads and isinstance(source, HoldsReads):
            source = source.holding()
        return make_plan(config.single, source, client, root, started_at, config.max_source_connections, execution)
    assert config.selection is not None
    return plan_selection(config, config.selection, client, root, started_at, execution, holds_reads=holds_reads)


def staging_root(options: PipelineOptions) -> str:
    """Return `gs://…/`, the folder of all staged files under Beam's `temp_location`.

    Raises:
        ConfigError: `temp_location` is missing or not in Cloud Storage.
    """
    location = given_location(options)
    if not location:
        raise ConfigError(
            ["temp_location is missing: give a folder in Cloud Storage, such as --temp_location=gs://bucket/tmp"]
        )
    if not location.startswith("gs://"):
        raise ConfigError([f"temp_location is {location}: BigQuery loads from Cloud Storage; give gs://bucket/folder"])
    return f"{location.rstrip('/')}/sync/"


def given_location(options: PipelineOptions) -> str | None:
    """Return the folder that Beam's options name for files, None without one."""
    cloud = options.view_as(GoogleCloudOptions)
    location: str | None = cloud.temp_location or cloud.staging_location
    return location
