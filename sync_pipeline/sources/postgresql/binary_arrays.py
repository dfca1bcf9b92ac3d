"""Decodes PostgreSQL's binary arrays into Arrow's lists, the elements of all arrays at a time.

An array is its number of dimensions, a flag, and the oid of its elements' type, in 32 bits each; for each dimension its
length and lower bound; then for each element its length and bytes, as in a row.
"""

from __future__ import annotations

import struct
from collections.abc import Collection

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sync_pipeline.sources.checked_text import RejectedError
from sync_pipeline.sources.postgresql.binary_rows import Positions, Values, gather, unreadable
from sync_pipeline.sources.postgresql.binary_values import Decode

HEADER_BYTES, DIMENSION_BYTES, LENGTH_BYTES = 12, 8, 4

# The elements of so many arrays are found together; of fewer, one after the other.
_TOGETHER = 16


def lists(decode_elements: Decode, oids: Collection[int]) -> Decode:
    """Return the decoder of arrays whose elements have one of the types `oids`.

    It raises RejectedError for an array with several dimensions or with a NULL element.
    """
    accepted = list(oids)

    def decode(values: Values) -> pa.Array:
        here = np.arange(len(values)) if values.null is None else np.flatnonzero(~values.null)
        begin, end = values.begin[here], (values.begin + values.length)[here]
        dimensions = gather(values.data, begin, ">i4").astype(np.int64)
        if not np.isin(gather(values.data, begin + 8, ">u4"), accepted).all():
            raise unreadable()
        if (dimensions > 1).any():
            raise RejectedError
        has_elements = dimensions == 1
        begin, end = begin[has_elements], end[has_elements]
        counts = np.zeros(len(values), np.int64)
        counts[here[has_elements]] = gather(values.data, begin + HEADER_BYTES, ">i4")
        elements = _elements(values, counts[here[has_elements]], begin + HEADER_BYTES + DIMENSION_BYTES, end)
        if elements.null is not None:
            raise RejectedError
        offsets = np.zeros(len(values) + 1, np.int32)
        np.cumsum(counts, out=offsets[1:])
        mask = None if values.null is None else pa.array(values.null)
        return pa.ListArray.from_arrays(pa.array(offsets), decode_elements(elements), mask=mask)

    return decode


def _elements(values: Values, counts: Positions, begin: Positions, end: Positions) -> Values:
    """Return the elements of arrays, one array after the other.

    Args:
        counts: the number of elements of each array.
        begin, end: where the first element's length is, and where the array ends.
    """
    data = values.data
    total = int(counts.sum())
    # Where each array's elements are among all elements.
    first = np.cumsum(counts) - counts
    places = np.empty(total, np.int64)
    active = np.flatnonzero(counts > 0)
    position = begin.copy()
    step = 0
    while len(active) > _TOGETHER:
        here = position[active]
        places[first[active] + step] = here
        position[active] = here + LENGTH_BYTES + np.maximum(gather(data, here, ">i4"), 0)
        step += 1
        active = active[counts[active] > step]
    for array in active:
        place, unpack = int(position[array]), struct.Struct(">i").unpack_from
        found = []
        for _ in range(step, int(counts[array])):
            found.append(place)
            place += LENGTH_BYTES + max(unpack(data, place)[0], 0)
        places[first[array] + step : first[array] + int(counts[array])] = found
        position[array] = place
    if (position != end).any():
        raise unreadable()
    length = gather(data, places, ">i4").astype(np.int64)
    null: npt.NDArray[np.bool_] = length < 0
    return Values(data, places + LENGTH_BYTES, np.maximum(length, 0), null if null.any() else None)
