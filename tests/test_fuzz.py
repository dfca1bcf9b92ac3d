"""Hostile parameters, names, documents and messages: nothing planted comes out, and nothing ends in a traceback."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import pickle
from types import SimpleNamespace
from typing import Any

import bson
import pymongo.common
import pymongo.errors
import pytest
from google.api_core import exceptions
from hypothesis import given
from hypothesis import strategies as st

from sync_pipeline import command, pipeline
from sync_pipeline.bigquery_api.client import translated_errors as bigquery_errors
from sync_pipeline.errors import ConfigError, SchemaError, SyncError
from sync_pipeline.parameters.beam_options import pipeline_options
from sync_pipeline.parameters.command_line import parse_command_line
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.parameters.table import PARAMETERS
from sync_pipeline.parameters.transformation_config import TransformationConfig
from sync_pipeline.planning.plan import TableSync
from sync_pipeline.planning.plan_text import table_lines, table_page
from sync_pipeline.planning.staging_names import FOLDER
from sync_pipeline.printable import on_one_line, printable
from sync_pipeline.publishing.dead_letters import dead_letter_batch
from sync_pipeline.schema import ARROW_TYPES, Field, Schema
from sync_pipeline.sources.mongodb import connection
from sync_pipeline.sources.mongodb.bson_batches import DocumentColumns, read_documents
from sync_pipeline.sources.mongodb.bson_edits import edited
from sync_pipeline.sources.mongodb.bson_scan import Documents
from sync_pipeline.sources.mongodb.field_choice import choose_fields
from sync_pipeline.sources.mongodb.schema_scan import schema_of
from sync_pipeline.sources.mongodb.to_json import plain_text
from sync_pipeline.sources.source import DeadLetter
from sync_pipeline.transforms.batches import read_schema, transform_batch, transform_schema
from sync_pipeline.transforms.hashing import digest
from tests.fuzz_cases import (
    MONGODB,
    PLAIN_SECRETS,
    PLANTED,
    POSTGRESQL,
    SECRET_NAMES,
    SECRETS,
    TEXTS,
    UNSAFE,
    WRITABLE_TEXTS,
    cases,
    flags,
)
from tests.plans import plan

PLAIN_NAMES = [parameter.name for parameter in PARAMETERS if not parameter.secret]
SOURCES = [POSTGRESQL | {"postgresql_host": "127.0.0.1", "postgresql_port": "1"}, MONGODB]


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


def run_main(argv: list[str]) -> tuple[int, str, str]:
    """Return the exit code of `main`, what it prints, and all that is logged."""
    handler, root = _Lines(), logging.getLogger()
    root.addHandler(handler)
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()) as out,
            contextlib.redirect_stderr(io.StringIO()) as err,
        ):
            code = command.main(argv)
    finally:
        root.removeHandler(handler)
    return code, out.getvalue() + err.getvalue(), "\n".join(handler.lines)


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers are looked for where none is; Cloud Storage and BigQuery are not asked before a source has answered."""
    monkeypatch.setattr(connection, "SELECTION_SECONDS", 0.01)
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT_SECONDS", 0.01)
    monkeypatch.setattr(connection, "_REASON_SECONDS", 0.05)
    monkeypatch.setattr(pymongo.common, "MIN_HEARTBEAT_INTERVAL", 0.01)
    monkeypatch.setattr(pipeline, "check_staging", lambda *_: None, raising=False)
    monkeypatch.setattr(pipeline, "open_client", lambda *_, **__: SimpleNamespace(project="my-project"))


# A secret, where it belongs and where it is put by mistake; anything else, anywhere.
GIVEN_SECRETS = st.lists(st.sampled_from(SECRET_NAMES), max_size=3, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: PLAIN_SECRETS[name] for name in names})
)
MISPLACED = st.sampled_from(
    [
        [f"--postgresql_pasword={PLANTED}"],
        ["--postgresql_password", PLANTED],
        [f"--mongodb_host=mongodb://u:{PLANTED}@h"],
        [f"--mongodb_host=u:{PLANTED}@h"],
        [f"--postgresql_host=postgresql://u:{PLANTED}@h/d"],
        [f"--hash_key={PLANTED}", f"--hash_key={PLANTED}2"],
        [f"--hashkey={PLANTED}"],
        [f"--mongodb_conection_string=mongodb://u:{PLANTED}@h/"],
        [f"--mongodb_connection_string=mongodb://u:{PLANTED}%zz@h:x/?a"],
        [f"--mongodb_connection_string=mongodb+srv://u:{PLANTED}@127.0.0.1/?tls=true"],
        [f"--mongodb_connection_string=mongodb://u:{PLANTED}@127.0.0.1:1/?authSource={PLANTED}"],
    ]
)


@cases(0.2)
@given(
    st.sampled_from(SOURCES),
    GIVEN_SECRETS,
    st.dictionaries(st.sampled_from(PLAIN_NAMES), TEXTS, max_size=2),
    st.lists(MISPLACED, max_size=1),
    st.lists(st.dictionaries(TEXTS, TEXTS, max_size=1), max_size=1),
)
def test_parameters(
    source: dict[str, str],
    secrets: dict[str, str],
    others: dict[str, str],
    misplaced: list[list[str]],
    unknown: list[dict[str, str]],
) -> None:
    given_parameters = source | {"max_retries": "0"} | others | secrets
    argv = flags(given_parameters) + [word for words in misplaced for word in words]
    argv += [flag for names in unknown for flag in flags(names) if flag.partition("=")[0] not in ("--help", "--h")]
    code, printed, logged = run_main([*argv, "--temp_location=gs://bucket/tmp"])
    assert code in (1, 2)
    assert printed
    assert all(line.startswith("error: ") for line in printed.removesuffix("\n").split("\n"))
    for text in (printed, logged):
        assert PLANTED not in text
        assert "Traceback" not in text
    assert not UNSAFE.search(printed)


@cases(0.1)
@given(st.sampled_from(SOURCES), GIVEN_SECRETS, st.dictionaries(st.sampled_from(PLAIN_NAMES), TEXTS, max_size=1))
def test_no_secret_is_among_the_options_or_in_a_representation(
    source: dict[str, str], secrets: dict[str, str], others: dict[str, str]
) -> None:
    parameters = source | others | secrets
    try:
        config = SyncConfig.from_parameters(parameters)
        options = pipeline_options(parse_command_line([*flags(parameters), "--temp_location=gs://bucket/tmp"]))
    except ConfigError as error:
        told = str(error)
    else:
        told = repr(config) + repr(pickle.loads(pickle.dumps(config)))
        told += str(options.get_all_options()) + str(options.display_data())
    assert PLANTED not in told


@cases(0.1)
@given(st.lists(st.tuples(TEXTS, st.sampled_from(list(ARROW_TYPES)), TEXTS), min_size=1, max_size=4), TEXTS, TEXTS)
def test_names_in_a_plan(columns: list[tuple[str, str, str]], note: str, risk: str) -> None:
    schema = Schema(tuple(Field(name, kind, source_type=told) for name, kind, told in columns))
    hostile = plan({"hash_key": PLANTED}, schema=schema, notes=(note,), risks=(risk,))
    page = printable(table_page(hostile))
    assert not UNSAFE.search(page)
    page.encode()
    assert PLANTED not in page
    titles = [line for line in page.split("\n") if line and not line.startswith(" ")]
    assert titles == ["Risks", "Sync", *titles[2:-1], "Notes"]
    assert all("\n" not in on_one_line(line) for line in table_lines(hostile))
    told = ""
    try:
        transform_schema(read_schema(schema, TransformationConfig()), TransformationConfig())
    except SchemaError as error:
        told = printable(str(error))
    assert not UNSAFE.search(told)


QUOTING = st.sampled_from(
    [
        "Failed to parse number '{}' in $convert with no onError value",
        "PlanExecutor error during aggregation :: caused by :: unknown operator: {}",
        "can't convert from {} to Date",
        'BSONObj size: 20000000 is invalid. First element: _id: "{}"',
        "Bad int64 value: {}",
        "Query error: Invalid date: '{}' at [1:2]",
        "Could not parse '{}' as NUMERIC for field x (position 0)",
        "Error while reading data, error message: JSON parsing error: {}",
        "Failed to parse JSON: unexpected token; {}",
        "{}",
        "sync:{}",
        "int64 overflow: {} + 1",
    ]
)


@cases(0.1)
@given(QUOTING, SECRETS, st.integers(0, 60_000), st.sampled_from([None, "invalid", "invalidQuery", "other", PLANTED]))
def test_words_of_servers(template: str, value: str, code: int, reason: str | None) -> None:
    message = template.format(value)
    if code not in (6, 7, 8, 11, 13, 18, 26, 43, 50, 73, 89, 91, 133, 136, 166, 175, 189, 237, 292) and code < 8000:
        config = SyncConfig.from_parameters(MONGODB).source
        with pytest.raises(SyncError) as caught, connection.translated_errors(config):  # type: ignore[arg-type]
            raise pymongo.errors.OperationFailure(message, code, {"errmsg": message, "codeName": "Name"})
        assert PLANTED not in str(caught.value)
    with pytest.raises(SyncError) as caught, bigquery_errors("do it"):
        raise exceptions.BadRequest(message, errors=[{"message": message, "reason": reason, "location": value}])
    assert PLANTED not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


# Names of fields, of which some are looked for; `secret` is where a planted value lies.
NAMES = st.sampled_from(["a", "b", "c", "secret", "a.b", "$x", "", "é", "x y", "0"]) | WRITABLE_TEXTS
ORDINARY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 2**40)
    | st.floats()
    | st.text("xyz", max_size=3)
    | st.binary(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(NAMES.filter(lambda n: n != "secret"), inner, max_size=3)
    ),
    max_leaves=6,
)
PLANTS = st.sampled_from([PLANTED, {"x": PLANTED}, [PLANTED], PLANTED.encode(), {PLANTED: 1}, [[{"y": PLANTED}]]])
PATH = st.lists(st.sampled_from(["a", "b", "c"]), max_size=2).map(lambda parts: ".".join([*parts, "secret"]))


def put(document: dict[str, Any], path: str, value: Any, *, in_arrays: bool) -> None:
    """Put a value at a path, with documents, or arrays of documents, on the way."""
    *parents, last = path.split(".")
    for part in parents:
        inner: dict[str, Any] = {}
        document[part] = [5, inner] if in_arrays else inner
        document = inner
    document[last] = value


def all_of(letters: list[DeadLetter], made: TableSync) -> str:
    return "".join(str(dead_letter_batch(letter, made).to_pylist()) for letter in letters)


@cases(0.25)
@given(
    st.lists(
        st.dictionaries(NAMES.filter(lambda name: name != "secret"), ORDINARY, max_size=4), min_size=1, max_size=4
    ),
    PATH,
    PLANTS,
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sets(st.integers(0, 3)),
)
def test_documents(
    documents: list[dict[str, Any]],
    path: str,
    planted: Any,
    in_arrays: bool,
    is_hashed: bool,
    document_mode: bool,
    seen: set[int],
) -> None:
    for document in documents:
        put(document, path, planted, in_arrays=in_arrays)
    config = TransformationConfig(**{"hash_fields" if is_hashed else "exclude_fields": (path,)})
    fields = choose_fields(config, {}, document_mode=document_mode)
    if document_mode:
        schema = Schema((Field("_id", "INT64"), Field("document", "JSON")))
    else:
        # Only some fields are known before the read; the others make dead letters.
        types = {
            key: frozenset({"string" if number in seen else "date"})
            for document in documents
            for number, key in enumerate(document)
            if number % 2 or key == "secret"
        }
        try:
            schema = read_schema(schema_of(fields.columns(types)), fields.transformation, has_dynamic_schema=True)
        except SchemaError:
            # Two fields that would be one column.
            return
    columns = DocumentColumns(
        schema,
        left_out=frozenset(fields.transformation.exclude_fields),
        has_document=document_mode,
        removed=fields.removed,
        hashed=fields.hashed,
        hashed_in_document=fields.hashed_in_document,
    )
    raw = b"".join(map(bson.encode, documents))
    # What the server would leave out.
    sent = edited(Documents.of(raw), config.exclude_fields, (), None)
    table, letters = read_documents(sent, columns)
    assert table.num_rows + len(letters) == len(documents)
    made = plan({"transformation_config": fields.transformation.model_dump_json(exclude_defaults=True)}, schema=schema)
    hashes = digest(planted if isinstance(planted, bytes) else plain_text(planted).encode(), None)
    rows = "".join(
        str(
            transform_batch(
                batch, fields.transformation, transform_schema(schema, fields.transformation), None
            ).to_pylist()
        )
        for batch in table.to_batches()
        if _can_be_named(schema, fields.transformation)
    )
    told = all_of(letters, made)
    for text in (rows, told, *(letter.reason for letter in letters)):
        assert PLANTED not in text
        assert PLANTED.encode().hex() not in text
    if is_hashed and document_mode and not letters:
        assert hashes in rows


def _can_be_named(schema: Schema, transformation: TransformationConfig) -> bool:
    try:
        transform_schema(schema, transformation)
    except SchemaError:
        return False
    return True


@cases(0.025)
@given(TEXTS)
def test_printable(text: str) -> None:
    shown = printable(text)
    assert not UNSAFE.search(shown)
    assert printable(shown) == shown
    assert "\n" not in on_one_line(text)


@cases(0.025)
@given(TEXTS, TEXTS)
def test_no_found_name_names_what_is_deleted(start: str, run: str) -> None:
    assert FOLDER.match(f"start={start},run={run}/x") is None


def test_the_planted_value_would_be_found() -> None:
    """The searches above find the value where it is not protected."""
    letter = DeadLetter(("name",), "reason", {"name": PLANTED})
    assert PLANTED in all_of([letter], plan())
    assert json.loads(dead_letter_batch(letter, plan()).to_pylist()[0]["source_row"]) == {"name": PLANTED}
