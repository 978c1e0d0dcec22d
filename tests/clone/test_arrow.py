"""Arrow data of any library: its buffers are copied once, and slices carry their own rows."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Callable
from typing import Any, Self

import pytest
from hypothesis import given, settings

import atoll
from atoll import _arrow, _native

pa = pytest.importorskip("pyarrow")
pl = pytest.importorskip("polars")
pd = pytest.importorskip("pandas")

LARGE = 200_000


class Producer:
    """Offers its array by the PyCapsule protocol, and cannot be pickled."""

    def __new__(cls, array: Any) -> Self:
        made = super().__new__(cls)
        made.array = pa.array(array)
        return made

    array: Any

    def __reduce_ex__(self, protocol: object) -> Any:
        raise TypeError("cannot pickle it")

    def __arrow_c_array__(self, requested_schema: object = None) -> Any:
        return self.array.__arrow_c_array__(requested_schema)


class StreamProducer:
    def __init__(self, stream: Any) -> None:
        self.table = pa.table(stream)

    @classmethod
    def from_arrow(cls, stream: Any) -> StreamProducer:
        return cls(stream)

    def __reduce_ex__(self, protocol: object) -> Any:
        raise TypeError("cannot pickle it")

    def __arrow_c_stream__(self, requested_schema: object = None) -> Any:
        return self.table.__arrow_c_stream__(requested_schema)


def arrays() -> dict[str, Any]:
    """An array of each layout that Arrow has."""
    numbers = [1, None, 3] * 9
    texts = ["short", None, "a text that is too long for a view", ""] * 9
    lists = [[1, 2], None, [], [3]] * 9
    price = decimal.Decimal("1.25")
    numbered, halves = [str(number) for number in range(18)], [number // 2 for number in range(18)]
    types = pa.array([0, 1] * 9, pa.int8())
    return {
        "null": pa.nulls(20),
        "bool": pa.array([True, None, False] * 9),
        "int8": pa.array(numbers, pa.int8()),
        "uint64": pa.array(numbers, pa.uint64()),
        "float": pa.array([1.5, None] * 9),
        "date": pa.array([datetime.date(2026, 1, 1), None] * 9),
        "timestamp": pa.array([datetime.datetime(2026, 1, 1)] * 9, pa.timestamp("us", "Europe/Berlin")),
        "time": pa.array([datetime.time(1, 2)] * 9),
        "duration": pa.array([datetime.timedelta(3)] * 9),
        "decimal": pa.array([price, None] * 9),
        "decimal256": pa.array([price, None] * 9, pa.decimal256(50, 2)),
        "interval": pa.array([pa.MonthDayNano([1, 2, 3])] * 9),
        "text": pa.array(texts),
        "large text": pa.array(texts, pa.large_string()),
        "binary": pa.array([b"a", None, b"ccc"] * 9),
        "views": pa.array(texts, pa.string_view()),
        "short views": pa.array(["a", "b"] * 9, pa.string_view()),
        "fixed binary": pa.array([b"abc", None, b"def"] * 9, pa.binary(3)),
        "list": pa.array(lists),
        "large list": pa.array([["x"], None, ["yy", "z"]] * 9, pa.large_list(pa.string())),
        "list view": pa.array(lists, pa.list_view(pa.int32())),
        "fixed list": pa.array([[1, 2], None, [5, 6]] * 9, pa.list_(pa.int16(), 2)),
        "struct": pa.array([{"a": 1, "b": "x"}, None, {"a": None, "b": "yy"}] * 9),
        "map": pa.array([[("k", 1)], None, [("l", 2), ("m", 3)]] * 9, pa.map_(pa.string(), pa.int32())),
        "dictionary": pa.array(["u", "v", None, "u"] * 9).dictionary_encode(),
        "runs": pa.RunEndEncodedArray.from_arrays([3, 10, 20], ["a", None, "c"]),
        "sparse union": pa.UnionArray.from_sparse(types, [pa.array(range(18)), pa.array(numbered)]),
        "dense union": pa.UnionArray.from_dense(
            types, pa.array(halves, pa.int32()), [pa.array(range(9)), pa.array(numbered[:9])]
        ),
        "empty": pa.array([], pa.string()),
    }


@pytest.mark.parametrize("name", arrays())
def test_every_layout_arrives_whole_and_in_slices(name: str) -> None:
    whole = arrays()[name]
    for start, length in [(0, len(whole)), (3, 10), (8, 5), (1, 0), (len(whole), 0)]:
        part = whole.slice(start, length)
        copy = atoll.clone(Producer(part)).array
        copy.validate(full=True)
        assert copy.equals(part)
        assert (copy.type, copy.null_count) == (part.type, part.null_count)
        again = atoll.clone(Producer(copy.slice(2, 4))).array
        assert again.equals(part.slice(2, 4))


def test_a_stream_arrives_with_its_chunks_names_and_metadata() -> None:
    schema = pa.schema([pa.field("a", pa.int64(), metadata={"unit": "m"})], metadata={"made": "here", "empty": ""})
    table = pa.Table.from_batches([pa.record_batch([[1, 2]], schema), pa.record_batch([[3]], schema)])
    copy = atoll.clone(StreamProducer(table)).table
    assert copy.equals(table, check_metadata=True)
    assert copy["a"].num_chunks == 2
    assert atoll.clone(StreamProducer(table.slice(0, 0))).table.equals(table.slice(0, 0))


def frames() -> dict[str, Any]:
    return {
        "plain": pl.DataFrame({"a": [1, None], "b": [1.5, 2.5], "c": ["x", "a text that is not inlined"]}),
        "times": pl.DataFrame({"d": [datetime.date(2026, 1, 1)], "t": [datetime.datetime(2026, 1, 1)]}),
        "nested": pl.DataFrame({"l": [[1], [], None], "s": [{"p": 1}, {"p": None}, {"p": 3}]}),
        "categories": pl.DataFrame({"c": pl.Series(["u", "v"], dtype=pl.Categorical)}),
        "enum": pl.DataFrame({"e": pl.Series(["u", "v"], dtype=pl.Enum(["v", "u"]))}),
        "decimals": pl.DataFrame({"d": pl.Series([decimal.Decimal("1.25")], dtype=pl.Decimal(10, 2))}),
        "fixed": pl.DataFrame({"f": pl.Series([[1, 2], [3, 4]], dtype=pl.Array(pl.Int8, 2))}),
        "wide": pl.DataFrame({"w": pl.Series([2**100], dtype=pl.Int128)}),
        "no rows": pl.DataFrame({"a": pl.Series([], dtype=pl.String)}),
        "nothing": pl.DataFrame(),
        "chunks": pl.concat([pl.DataFrame({"a": [1]}), pl.DataFrame({"a": [2]})], rechunk=False),
    }


@pytest.mark.parametrize("name", frames())
def test_frames_and_series_of_polars_arrive(name: str) -> None:
    frame = frames()[name]
    copy = atoll.clone(frame)
    assert type(copy) is pl.DataFrame
    assert copy.schema == frame.schema
    assert copy.equals(frame)
    for series in frame:
        copy = atoll.clone(series)
        assert (copy.name, copy.dtype, copy.equals(series)) == (series.name, series.dtype, True)


def test_what_polars_generates_arrives() -> None:
    parametric = pytest.importorskip("polars.testing.parametric")

    @settings(max_examples=60, deadline=None)
    @given(parametric.dataframes(max_cols=4, max_size=20, allow_chunks=True))
    def arrives(frame: Any) -> None:
        copy = atoll.clone(frame[1:])
        assert copy.schema == frame.schema
        assert copy.equals(frame[1:])

    arrives()


def test_a_frame_may_be_changed_where_it_arrived() -> None:
    frame = pl.DataFrame({"a": range(LARGE)})
    copy = atoll.clone(frame)
    copy = copy.with_columns(pl.col("a") + 1)
    series = atoll.clone(frame["a"])
    series[0] = 7
    assert (frame["a"][0], copy["a"][0], series[0], series[1]) == (0, 1, 7, 1)


def test_the_memory_of_a_frame_crosses_once_and_beside_the_message() -> None:
    frame = pl.DataFrame({"a": range(LARGE), "s": ["x"] * LARGE})
    assert _native.clone_size(frame) < frame.estimated_size() + 16 * LARGE + 2000
    buffers = [part for part in atoll.explain(frame).walk() if part.type_name == "PickleBuffer"]
    assert len(buffers) == 1
    assert buffers[0].size_bytes > 8 * LARGE
    assert sum(part.size_bytes for part in atoll.explain(frame).walk() if part.type_name == "bytes") < 1000


def test_objects_in_a_frame_are_refused_and_not_sent_as_numbers() -> None:
    series = pl.Series("o", [object()], dtype=pl.Object)
    for value in (series, series.to_frame()):
        with pytest.raises(atoll.CloneError):
            atoll.clone([value])


@pytest.mark.parametrize("take", [lambda table: table, lambda table: table.to_batches()[0], lambda table: table["s"]])
def test_a_slice_of_a_large_table_carries_its_own_rows(take: Callable[[Any], Any]) -> None:
    table = pa.table({"a": range(LARGE), "s": [f"text {number}" for number in range(LARGE)]})
    whole = take(table)
    part = whole.slice(1003, 10)
    copy = atoll.clone(part)
    assert type(copy) is type(part)
    assert copy.equals(part)
    assert _native.clone_size(part) < 10_000
    assert atoll.clone(whole).equals(whole)


def test_a_slice_of_a_large_array_carries_its_own_rows() -> None:
    part = pa.array(range(LARGE)).slice(5, 3)
    assert atoll.clone(part).equals(part)
    assert type(atoll.clone(part)) is type(part)
    assert _native.clone_size(part) < 2000


def test_frames_of_pandas_over_arrow_arrive() -> None:
    frame = pd.DataFrame({"a": pd.array([1, None], "int64[pyarrow]"), "s": pd.array(["x", "y"], "string[pyarrow]")})
    pd.testing.assert_frame_equal(atoll.clone(frame), frame)


def test_readers_are_refused_and_keep_what_they_read() -> None:
    reader = pa.table({"a": [1, 2]}).to_reader()
    with pytest.raises(atoll.CloneError):
        atoll.clone(reader)
    assert reader.read_all().num_rows == 2


def test_other_interpreters_get_tables_and_give_them_back() -> None:
    if not atoll.capabilities()["isolate"].available:
        pytest.skip("only isolates import these libraries")

    def work(frame: Any, table: Any) -> Any:
        return frame.tail(2), frame["a"].sum(), table.slice(1, 2)

    frame = pl.DataFrame({"a": range(LARGE), "s": ["x"] * LARGE})
    table = pa.table({"a": range(LARGE)})
    tail, total, part = atoll.run(work, frame, table, kind="isolate")
    assert tail.equals(frame.tail(2))
    assert total == sum(range(LARGE))
    assert part.equals(table.slice(1, 2))


def test_what_is_no_capsule_of_arrow_is_refused() -> None:
    for capsules in [(None,), (1, 2), pa.array([1]).__arrow_c_array__()[::-1]]:
        with pytest.raises(TypeError, match="no capsule"):
            _native.arrow_export(*capsules)
    stream = pa.table({"a": [1]}).__arrow_c_stream__()
    pa.RecordBatchReader._import_from_c_capsule(stream)
    schema, array = pa.array([1]).__arrow_c_array__()
    pa.Array._import_from_c_capsule(schema, array)
    for capsules in [(stream,), (schema, array)]:
        with pytest.raises(TypeError, match="used before"):
            _native.arrow_export(*capsules)


def test_a_description_that_is_none_makes_nothing() -> None:
    _, (_, _, description, buffer, _) = _arrow._by_capsules(pa.array(["a", "b"] * 9))  # type: ignore[misc]
    memory = atoll.clone(buffer)
    assert len(_native.arrow_import(description, memory, False)) == 2
    for wrong in (b"", description[:-1], description[:50], b"\xff" * 200):
        with pytest.raises(TypeError, match="not what arrow_export"):
            _native.arrow_import(wrong, memory, False)
    with pytest.raises(TypeError, match="not what arrow_export"):
        _native.arrow_import(description, b"memory", False)  # type: ignore[arg-type]


def test_a_stream_that_fails_is_an_error_with_its_reason() -> None:
    def batches() -> Any:
        yield pa.record_batch({"a": [1]})
        raise OSError("the disk is gone")

    class Fails(StreamProducer):
        def __arrow_c_stream__(self, requested_schema: object = None) -> Any:
            schema = pa.schema({"a": pa.int64()})
            return pa.RecordBatchReader.from_batches(schema, batches()).__arrow_c_stream__()

    with pytest.raises(atoll.CloneError, match="the disk is gone"):
        atoll.clone(Fails(pa.table({"a": [1]})))
