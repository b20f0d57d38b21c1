"""The schema a run stages: declared, published and found, under each policy."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.schema import Schema

from wap.errors import BatchRefusedError, ConfigError
from wap.pipeline import Pipeline
from wap.schema import desired_schema
from wap.types import column_texts, iceberg_schema, to_arrow


def pipeline(
    policy: str = "strict",
    columns: dict[str, str] | None = None,
    required: tuple[str, ...] = (),
    fmt: str = "parquet",
    **more: Any,
) -> Pipeline:
    return Pipeline.model_validate(
        {
            "name": "flights",
            "table": "nyc.flights",
            "source": {"kind": "files", "path": "data/x", "format": fmt},
            "write": more.pop("write", {"mode": "append"}),
            "schema": {"on_change": policy, "columns": columns or {}, "required": list(required)},
            "contracts": ["contracts/flights.yml"],
            **more,
        }
    )


def arrow(**columns: str) -> pa.Schema:
    return to_arrow(iceberg_schema(columns))


def published(**columns: str) -> Schema:
    return iceberg_schema(columns)


def texts(result: tuple[Schema, tuple[str, ...]]) -> dict[str, str]:
    return column_texts(result[0])


def refused(*args: Any) -> tuple[str, ...]:
    with pytest.raises(BatchRefusedError) as caught:
        desired_schema(*args)
    return caught.value.differences


@pytest.mark.parametrize("policy", ["strict", "evolve", "ignore"])
def test_the_first_load_takes_the_inputs_columns(policy: str) -> None:
    result = desired_schema(
        pipeline(policy, {"b": "decimal(9, 2)"}), arrow(a="int", b="double"), None
    )
    assert texts(result) == {"a": "int", "b": "decimal(9, 2)"}
    assert result[1] == ("a", "b")


@pytest.mark.parametrize("policy", ["strict", "evolve", "ignore"])
def test_a_batch_like_the_table_is_taken(policy: str) -> None:
    result = desired_schema(
        pipeline(policy), arrow(b="long", a="int"), published(a="int", b="long")
    )
    assert texts(result) == {"a": "int", "b": "long"}
    assert result[1] == ("a", "b")


def test_strict_lists_every_difference() -> None:
    found = arrow(extra="string", year="string", dep="int")
    differences = refused(pipeline(), found, published(year="int", dep="int", tailnum="string"))
    assert differences == (
        "- tailnum: string (missing in the input)",
        "+ extra: string (not in the table)",
        "~ year: int → string",
    )


def test_strict_misses_a_declared_column_on_the_first_load() -> None:
    assert refused(pipeline(columns={"gone": "int"}), arrow(a="int"), None) == (
        "- gone: int (missing in the input)",
    )


def test_strict_takes_a_new_column_that_is_declared() -> None:
    result = desired_schema(
        pipeline(columns={"new": "int"}), arrow(a="int", new="long"), published(a="int")
    )
    assert texts(result) == {"a": "int", "new": "int"}


def test_evolve_adds_and_leaves_null() -> None:
    result = desired_schema(
        pipeline("evolve"), arrow(new="double", a="int"), published(a="int", gone="string")
    )
    assert texts(result) == {"a": "int", "gone": "string", "new": "double"}
    assert result[1] == ("a", "new")


def test_evolve_widens_but_does_not_convert() -> None:
    table = published(a="int", s="struct<x: int>")
    result = desired_schema(pipeline("evolve"), arrow(a="long", s="struct<x: long, y: int>"), table)
    assert texts(result) == {"a": "long", "s": "struct<x: long, y: int>"}
    assert refused(pipeline("evolve"), arrow(a="string", s="struct<x: int>"), table) == (
        "~ a: int → string",
    )


def test_evolve_leaves_a_missing_field_of_a_struct_null() -> None:
    table = published(s="struct<x: int, y: int>")
    assert texts(desired_schema(pipeline("evolve"), arrow(s="struct<x: int>"), table)) == {
        "s": "struct<x: int, y: int>"
    }
    assert refused(pipeline(), arrow(s="struct<x: int>"), table)


def test_ignore_leaves_out_what_the_table_does_not_have() -> None:
    found = pa.schema([("a", pa.int32()), ("odd", pa.duration("s")), ("new", pa.int8())])
    result = desired_schema(pipeline("ignore"), found, published(a="int", gone="string"))
    assert texts(result) == {"a": "int", "gone": "string"}
    assert result[1] == ("a",)


def test_a_text_formats_guess_is_not_a_difference() -> None:
    table = published(a="int", b="string", c="double")
    result = desired_schema(pipeline(fmt="csv"), arrow(a="long", b="long", c="long"), table)
    assert texts(result) == {"a": "int", "b": "string", "c": "double"}


def test_a_field_inside_json_is_never_lost_silently() -> None:
    table = published(s="struct<x: int>")
    found = arrow(s="struct<x: int, y: int>")
    assert refused(pipeline(fmt="ndjson"), found, table) == (
        "~ s: struct<x: int> → struct<x: int, y: int>",
    )
    declared = pipeline(fmt="ndjson", columns={"s": "struct<x: int>"})
    assert refused(declared, found, None)


def test_a_column_without_values_fits_any_type() -> None:
    found = pa.schema([("a", pa.null())])
    assert texts(desired_schema(pipeline(), found, published(a="date"))) == {"a": "date"}


@pytest.mark.parametrize("policy", ["evolve", "ignore"])
def test_a_required_column_must_not_be_missing(policy: str) -> None:
    table = iceberg_schema({"a": "int", "b": "int"}, ["b"])
    assert refused(pipeline(policy), arrow(a="int"), table) == (
        "- b: int (missing in the input, and never null)",
    )


def test_required_columns_of_a_new_table() -> None:
    schema, _ = desired_schema(pipeline(required=("a",)), arrow(a="int", b="int"), None)
    assert schema.find_field("a").required
    assert not schema.find_field("b").required


def test_a_published_column_stays_required() -> None:
    schema, _ = desired_schema(pipeline(), arrow(a="int"), iceberg_schema({"a": "int"}, ["a"]))
    assert schema.find_field("a").required


@pytest.mark.parametrize("table", [{"a": "int"}, {"a": "int", "b": "int"}])
def test_a_column_cannot_become_required_later(table: dict[str, str]) -> None:
    said = pipeline("evolve", required=("b",))
    with pytest.raises(ConfigError, match="'b' cannot become required"):
        desired_schema(said, arrow(a="int", b="int"), published(**table))


def test_a_declared_type_widens_the_published_one_or_is_refused() -> None:
    table = published(a="int")
    assert texts(desired_schema(pipeline(columns={"a": "long"}), arrow(a="int"), table)) == {
        "a": "long"
    }
    with pytest.raises(ConfigError, match="Iceberg can only widen"):
        desired_schema(pipeline(columns={"a": "string"}), arrow(a="int"), table)


def test_a_declared_primitive_overrides_a_type_iceberg_does_not_have() -> None:
    found = pa.schema([("took", pa.duration("us"))])
    assert texts(desired_schema(pipeline(columns={"took": "long"}), found, None)) == {
        "took": "long"
    }
    with pytest.raises(ConfigError, match="'took'"):
        desired_schema(pipeline(), found, None)


def test_columns_that_sql_cannot_tell_apart_are_refused() -> None:
    assert refused(pipeline(), arrow(Id="int", id="int"), None)
    assert refused(pipeline("evolve"), arrow(Id="int"), published(id="int"))
    twice = pa.schema([("a", pa.int8()), ("a", pa.int8())])
    assert refused(pipeline(), twice, None)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"write": {"mode": "append", "keys": ["carier"]}}, "write.keys"),
        ({"write": {"mode": "append", "interval": "day"}}, "write.interval"),
        ({"partitioning": ["day(carier)"]}, "partitioning"),
        ({"tags": {"carier": ["pii"]}}, "tags"),
        ({"required": ("carier",)}, "schema.required"),
    ],
)
def test_a_named_column_must_exist(more: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        desired_schema(pipeline(**more), arrow(carrier="string"), None)
    assert "pipelines/flights.yml" in str(caught.value)
    if "carier" in str(more):
        assert caught.value.hint == "did you mean 'carrier'?"


def test_a_transform_must_fit_its_column() -> None:
    with pytest.raises(ConfigError, match=r"day\(carrier\) is not possible"):
        desired_schema(pipeline(partitioning=["day(carrier)"]), arrow(carrier="string"), None)
    desired_schema(pipeline(partitioning=["bucket(4, carrier)"]), arrow(carrier="string"), None)


@pytest.mark.parametrize("where", ["carier = 'AA'", "year = 'x'"])
def test_a_filter_must_fit_the_table(where: str) -> None:
    said = pipeline(write={"mode": "replace", "where": where})
    with pytest.raises(ConfigError, match=r"write\.where does not fit"):
        desired_schema(said, arrow(carrier="string", year="int"), None)


def test_three_hundred_odd_columns() -> None:
    names = {f'ä "{n}", sélect.{n} ': "int" for n in range(300)}
    result = desired_schema(pipeline(), arrow(**names), None)
    assert texts(result) == names


def test_a_declared_struct_that_holds_all_of_the_input_is_taken() -> None:
    said = pipeline(fmt="ndjson", columns={"s": "struct<x: int, y: string>"})
    assert texts(desired_schema(said, arrow(s="struct<x: long>"), None)) == {
        "s": "struct<x: int, y: string>"
    }


# --- columns of writes by key ---------------------------------------------------------------------

MARKED = {"mode": "merge", "keys": ["id"], "delete": {"column": "op", "values": ["D"]}}
HISTORY = {"mode": "history", "keys": ["id"]}
BOTH = {**HISTORY, "order_by": "day", "recorded": True}


def test_what_marks_deletes_is_not_stored() -> None:
    for table in (None, published(id="long")):
        result = desired_schema(pipeline(write=MARKED), arrow(id="long", op="string"), table)
        assert texts(result) == {"id": "long"}
        assert result[1] == ("id",)


def test_an_input_without_the_marker_is_refused() -> None:
    assert refused(pipeline(write=MARKED), arrow(id="long"), None) == (
        "- op: it marks deletes (missing in the input)",
    )


def test_a_marker_that_the_table_stores_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="names a column of the table"):
        desired_schema(
            pipeline(write=MARKED), arrow(id="long", op="string"), published(id="long", op="string")
        )


def test_history_adds_its_columns_behind_the_inputs() -> None:
    result = desired_schema(pipeline(write=HISTORY), arrow(id="long"), None)
    assert texts(result) == {
        "id": "long",
        "valid_from": "timestamptz",
        "valid_to": "timestamptz",
        "is_current": "boolean",
    }
    assert result[1] == ("id",)


def test_both_axes_and_a_new_column_in_the_published_order() -> None:
    first = desired_schema(pipeline(write=BOTH), arrow(id="long", day="date"), None)[0]
    result = desired_schema(
        pipeline("evolve", write=BOTH), arrow(id="long", day="date", new="int"), first
    )
    assert list(texts(result)) == [*texts((first, ())), "new"]
    assert texts(result)["valid_to"] == "date"
    assert texts(result)["recorded_from"] == "timestamptz"
    assert result[1] == ("id", "day", "new")


@pytest.mark.parametrize(
    ("write", "inputs", "table", "what"),
    [
        (HISTORY, {"id": "long", "valid_to": "date"}, None, "history writes itself: 'valid_to'"),
        (HISTORY, {"id": "long"}, {"id": "long"}, "published without the column 'valid_from'"),
        ({**HISTORY, "order_by": "id2"}, {"id": "long", "id2": "int"}, None, "but 'id2' is int"),
        ({**MARKED, "keys": ["nr"]}, {"id": "long", "op": "string"}, None, "write.keys names"),
        ({**MARKED, "order_by": "nr"}, {"id": "long", "op": "string"}, None, "write.order_by"),
    ],
)
def test_what_cannot_be_written_by_key(
    write: dict[str, Any], inputs: dict[str, str], table: dict[str, str] | None, what: str
) -> None:
    with pytest.raises(ConfigError, match=what):
        desired_schema(
            pipeline(write=write), arrow(**inputs), published(**table) if table else None
        )


def test_which_axes_a_table_has_is_settled() -> None:
    first = desired_schema(pipeline(write=BOTH), arrow(id="long", day="date"), None)[0]
    one = {**BOTH, "recorded": False}
    with pytest.raises(ConfigError, match="recorded is not asked for"):
        desired_schema(pipeline(write=one), arrow(id="long", day="date"), first)
