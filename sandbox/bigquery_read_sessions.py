"""Sessions of the Storage Read API as BigQuery opens them; patches in memory, like `bigquery_patches`."""

import contextlib
import types as python_types

from google.cloud.bigquery_storage_v1 import types
from local_bigquery.engine import database
from local_bigquery.grpc import read, server

_SERVICE = "google.cloud.bigquery.storage.v1.BigQueryRead"

# What a stream has at least, if others follow, and a response at most. BigQuery documents no numbers; its responses are
# small, and the least that it assigns to a stream is larger.
_ROWS_OF_A_STREAM, _ROWS_OF_A_RESPONSE = 1000, 10_000

# How many streams a session has at first, however many are preferred: "in some cases [it] might provide less".
_STREAMS_AT_FIRST = 4


def apply() -> None:
    """Patch the emulator's modules; call once, before the service starts."""
    open_few_streams()
    split_no_small_streams()
    send_small_responses()


def open_few_streams() -> None:
    """Unpatched: a session has a stream for each 100,000 rows, and ignores `preferred_min_stream_count`.

    BigQuery makes an effort to provide so many, and otherwise decides by itself. Then it often has only one:
    https://github.com/googleapis/google-cloud-go/issues/8432
    https://cloud.google.com/bigquery/docs/reference/storage/rpc/google.cloud.bigquery.storage.v1#createreadsessionrequest
    """
    read.STREAM_ROWS = _ROWS_OF_A_STREAM
    create = read.create_session

    def create_with_few_streams(request):
        most = request.max_stream_count
        if 0 < most < request.preferred_min_stream_count:
            message = "max_stream_count must be greater than or equal to preferred_min_stream_count"
            raise read.BigQueryError("invalid", message)
        request.max_stream_count = min(max(1, request.preferred_min_stream_count), _STREAMS_AT_FIRST)
        return create(request)

    _serve("CreateReadSession", create_with_few_streams, types.CreateReadSessionRequest, types.ReadSession)


def split_no_small_streams() -> None:
    """Unpatched: a stream of two rows can be split. BigQuery splits between collections of rows."""
    split = read.split_stream

    def split_large_stream(request):
        stream = read._lookup(request.name)
        if stream.end - stream.start < 2 * _ROWS_OF_A_STREAM:
            return types.SplitReadStreamResponse()
        return split(request)

    _serve("SplitReadStream", split_large_stream, types.SplitReadStreamRequest, types.SplitReadStreamResponse)


def send_small_responses() -> None:
    """Unpatched: a stream is a single response."""
    read.database = python_types.SimpleNamespace(cursor=_cursor)


@contextlib.contextmanager
def _cursor():
    with database.cursor() as cursor:
        yield _Cursor(cursor)


class _Cursor:
    """A cursor whose results are read as small batches."""

    def __init__(self, cursor):
        self._cursor = cursor

    def sql(self, *arguments, **options):
        return _Relation(self._cursor.sql(*arguments, **options))


class _Relation:
    def __init__(self, relation):
        self._relation = relation

    def to_arrow_reader(self):
        return self._relation.to_arrow_reader(_ROWS_OF_A_RESPONSE)

    def __getattr__(self, name):
        return getattr(self._relation, name)


def _serve(method, function, request_type, response_type):
    server.SERVICES[_SERVICE][method] = server._unary(function, request_type, response_type)
