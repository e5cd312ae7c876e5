"""Configurations as JSON and back: what a worker serves is what the supervisor was told."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachgw.config import Cluster, Config, Embedded, load
from pachgw.workers.order import Handed, Order
from pachgw.workers.sockets import Listener
from pachgw.workers.values import from_json, to_json

texts = st.text(st.characters(exclude_categories=["Cs"]))
paths = st.builds(Path, texts.map(lambda text: "/" + text.replace("\0", "")))
configs = st.builds(
    Config,
    listen=st.lists(texts, max_size=3).map(tuple),
    backend=st.one_of(
        st.builds(Cluster, address=texts, source=texts),
        st.builds(
            Embedded,
            state_dir=paths,
            pfs_listen=st.none() | texts,
            tokens_file=st.none() | paths,
            source=texts,
        ),
    ),
    key_encoding=texts,
    cache_dir=st.none() | paths,
    abandoned_uploads_days=st.integers(0, 3650),
    domains=st.lists(texts, max_size=3).map(tuple),
    cors_file=st.none() | paths,
    workers=st.integers(1, 256),
)
orders = st.builds(
    Order,
    config=configs,
    pfs_address=texts,
    cors=st.none() | texts,
    shared_dir=st.none() | paths,
    listeners=st.lists(
        st.builds(
            Listener, descriptor=st.integers(0), endpoint=st.none() | texts, url=texts, tls=st.booleans()
        ),
        max_size=3,
    ).map(tuple),
    index=st.integers(0, 255),
    shares=st.none() | st.integers(0),
    handed=st.lists(
        st.builds(Handed, name=texts, texts=st.lists(texts, max_size=3).map(tuple)), max_size=3
    ).map(tuple),
)


@given(orders)
def test_an_order_comes_back_as_it_was(order: Order) -> None:
    assert from_json(Order, json.loads(json.dumps(to_json(order)))) == order


def test_every_field_of_a_configuration_can_be_handed_on() -> None:
    config = load({"HOME": "/home/x"}, state_dir="/s")
    assert from_json(Config, json.loads(json.dumps(to_json(config)))) == config


@dataclass(frozen=True)
class Odd:
    value: object


@pytest.mark.parametrize("value", [object(), {1: 2}, b"bytes", {1}])
def test_what_no_field_may_have(value: object) -> None:
    with pytest.raises(TypeError, match="cannot be handed to another process"):
        to_json(Odd(value))


@pytest.mark.parametrize(
    ("kind", "value"), [(int, "1"), (str, 1), (Path, 1), (bool, 1), (int | None, "x"), (Odd, [1])]
)
def test_what_is_of_another_type(kind: type, value: object) -> None:
    with pytest.raises(TypeError, match="is wanted"):
        from_json(kind, value)
