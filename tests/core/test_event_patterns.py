"""Filter patterns: what each operator lets through, and which patterns are refused."""

import json
from typing import Any

import pytest

from streamd.core.event_patterns import compile_filter
from streamd.core.mapping_records import SourceRecords
from streamd.errors import PatternInvalid
from tests.core.mapping_sketches import EVENTS


def lets_through(pattern: Any, data: bytes | Any, *, key: str = "customer-7") -> bool:
    """Tell whether a record with this data passes the pattern, which is about its data unless it says otherwise."""
    blob = data if isinstance(data, bytes) else json.dumps(data).encode()
    event_filter = compile_filter([json.dumps(pattern)], data_is_parsed=True)
    assert event_filter is not None
    records = SourceRecords(["1"], [key.encode()], [blob], [1500])
    (document,) = EVENTS.documents(records, load=event_filter.load)
    return event_filter.matches(document)


MATCHES: list[tuple[Any, Any]] = [
    ({"city": ["Berlin"]}, {"city": "Berlin"}),
    ({"city": ["Bonn", "Berlin"]}, {"city": "Berlin"}),
    ({"city": [None]}, {"city": None}),
    ({"city": [""]}, {"city": ""}),
    ({"on": [True]}, {"on": True}),
    ({"n": [300]}, {"n": 300}),
    ({"n": [1.5]}, b'{"n": 1.5}'),
    ({"city": [{"prefix": "Ber"}]}, {"city": "Berlin"}),
    ({"city": [{"suffix": "lin"}]}, {"city": "Berlin"}),
    ({"city": [{"equals-ignore-case": "BERLIN"}]}, {"city": "berlin"}),
    ({"city": [{"anything-but": "Bonn"}]}, {"city": "Berlin"}),
    ({"city": [{"anything-but": ["Bonn", "Köln"]}]}, {"city": "Berlin"}),
    ({"n": [{"anything-but": [1, 2]}]}, {"n": 3}),
    ({"city": [{"anything-but": {"prefix": "Bo"}}]}, {"city": "Berlin"}),
    ({"city": [{"anything-but": {"prefix": ["Bo", "Kö"]}}]}, {"city": "Berlin"}),
    ({"city": [{"anything-but": {"suffix": ["nn", "ln"]}}]}, {"city": "Berlin"}),
    ({"city": [{"anything-but": {"equals-ignore-case": ["BONN"]}}]}, {"city": "Berlin"}),
    ({"n": [{"numeric": ["=", 300]}]}, b'{"n": 300.0}'),
    ({"n": [{"numeric": [">", 0, "<=", 5]}]}, {"n": 5}),
    ({"n": [{"numeric": ["<", -1.5]}]}, {"n": -2}),
    ({"n": [7, {"numeric": [">", 100]}]}, {"n": 101}),
    ({"a": {"b": [{"exists": True}]}}, {"a": {"b": None}}),
    ({"a": {"b": [{"exists": False}]}}, {"a": {}}),
    ({"a": {"b": [{"exists": False}]}}, {}),
    ({"a": [{"exists": False}]}, {"a": {"b": 1}}),
    ({"city": [None, {"exists": False}]}, {}),
    ({"tags": ["x"]}, {"tags": ["y", "x"]}),
    ({"items": {"kind": ["book"], "n": [1]}}, {"items": [{"kind": "cd"}, {"kind": "book", "n": 1}]}),
    ({"tags": ["x"]}, {"tags": [["y"], [["x"]]]}),
    ({"tags": {"n": ["x"]}}, b'{"tags":' + b"[" * 1000 + b'{"n":"x"}' + b"]" * 1000 + b"}"),
    ({"$or": [{"a": [1]}, {"b": [2]}]}, {"a": 0, "b": 2}),
    ({"c": ["x"], "$or": [{"a": [1]}, {"b": [{"prefix": "y"}]}]}, {"c": "x", "b": "yes"}),
]
MISSES: list[tuple[Any, Any]] = [
    ({"city": ["Berlin"]}, {"city": "berlin"}),
    ({"city": ["Berlin"]}, {}),
    ({"city": [None]}, {}),
    ({"city": [""]}, {"city": None}),
    ({"n": [300]}, b'{"n": 300.0}'),
    ({"n": ["300"]}, {"n": 300}),
    ({"n": [1]}, {"n": True}),
    ({"on": [True]}, {"on": 1}),
    ({"city": [{"prefix": "Ber"}]}, {"city": 7}),
    ({"city": [{"anything-but": "Bonn"}]}, {}),
    ({"n": [{"anything-but": [1, 2]}]}, {"n": 2}),
    ({"city": [{"anything-but": {"prefix": ["Be", "Kö"]}}]}, {"city": "Berlin"}),
    ({"n": [{"numeric": [">", 0, "<=", 5]}]}, {"n": 6}),
    ({"n": [{"numeric": [">", 0]}]}, {"n": "1"}),
    ({"n": [{"numeric": [">", 0]}]}, {"n": True}),
    ({"a": [{"exists": True}]}, {"a": {"b": 1}}),
    ({"a": [{"exists": True}]}, {"a": []}),
    ({"a": {"b": [{"exists": False}]}}, {"a": {"b": 1}}),
    ({"a": ["x"], "b": ["y"]}, {"a": "x"}),
    ({"items": {"kind": ["book"], "n": [1]}}, {"items": [{"kind": "cd", "n": 1}, {"kind": "book"}]}),
    ({"$or": [{"a": [1]}, {"b": [2]}]}, {"a": 2, "b": 1}),
    ({"a": {"b": ["x"]}}, {"a": "x"}),
    ({"a": [{"exists": False}]}, b"not JSON"),
    ({"a": [{"exists": False}]}, [1]),
    ({"a": [{"exists": False}]}, b"\xff"),
    ({"n": [1], "a": [{"exists": False}]}, b'{"n": NaN}'),
    ({"n": [1]}, b"[" * 100_000),
    ({"n": [1]}, b'{"n":' + b"[" * 1000 + b"2" + b"]" * 1000 + b"}"),
    ({"n": ["x"]}, b'{"n":' + b"[" * 1000 + b"2" + b"]" * 1000 + b"}"),
    ({"n": {"m": ["x"]}}, b'{"n":' + b"[" * 1000 + b"{}" + b"]" * 1000 + b"}"),
]


@pytest.mark.parametrize(("pattern", "data"), MATCHES)
def test_a_record_that_fits_is_let_through(pattern: Any, data: Any) -> None:
    assert lets_through({"data": pattern}, data)


@pytest.mark.parametrize(("pattern", "data"), MISSES)
def test_a_record_that_does_not_fit_is_kept_out(pattern: Any, data: Any) -> None:
    assert not lets_through({"data": pattern}, data)


def test_a_pattern_without_data_looks_at_the_record_itself_and_takes_any_data() -> None:
    assert lets_through({"partitionKey": [{"prefix": "customer-"}]}, b"not JSON")
    assert not lets_through({"partitionKey": ["customer-7"], "data": {"a": [1]}}, b"not JSON")
    assert lets_through({"$or": [{"partitionKey": ["customer-7"]}, {"data": {"a": [1]}}]}, b"not JSON")


def test_one_of_several_patterns_is_enough_and_none_lets_everything_through() -> None:
    event_filter = compile_filter(['{"data":{"a":[1]}}', '{"data":{"b":[1]}}'], data_is_parsed=True)

    assert event_filter is not None
    assert event_filter.matches({"data": event_filter.load(b'{"b":1}')})
    assert compile_filter([], data_is_parsed=True) is None


def test_a_table_s_record_is_matched_as_it_is() -> None:
    event_filter = compile_filter(['{"eventName":["INSERT"],"data":["x"]}'], data_is_parsed=False)

    assert event_filter is not None
    assert event_filter.matches({"eventName": "INSERT", "data": "x"})


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "no JSON",
        '"text"',
        "[]",
        "null",
        '{"a":"text"}',
        '{"a":1}',
        '{"a":[]}',
        '{"a":{}}',
        '{"a":[[1]]}',
        '{"a":[{}]}',
        '{"a":[{"prefix":"x","suffix":"y"}]}',
        '{"a":[{"wildcard":"x*"}]}',
        '{"a":[{"cidr":"10.0.0.0/8"}]}',
        '{"a":[{"prefix":1}]}',
        '{"a":[{"prefix":["x"]}]}',
        '{"a":[{"exists":"yes"}]}',
        '{"a":[{"numeric":[]}]}',
        '{"a":[{"numeric":["~",1]}]}',
        '{"a":[{"numeric":["=","1"]}]}',
        '{"a":[{"numeric":["<",5,">",0]}]}',
        '{"a":[{"numeric":[">",5,"<",0]}]}',
        '{"a":[{"anything-but":[]}]}',
        '{"a":[{"anything-but":[1,"x"]}]}',
        '{"a":[{"anything-but":null}]}',
        '{"a":[{"anything-but":{"numeric":["=",1]}}]}',
        '{"a":[NaN]}',
        '{"$or":[]}',
        '{"$or":{"a":[1]}}',
        '{"data":["x"]}',
        '{"data":"x"}',
        '{"$or":[{"data":["x"]}]}',
        '{"a":' * 100_000,
        '{"a":' * 500 + "[1]" + "}" * 500,
    ],
)
def test_a_pattern_that_mappings_do_not_have_is_refused(pattern: str) -> None:
    with pytest.raises(PatternInvalid):
        compile_filter([pattern], data_is_parsed=True)
