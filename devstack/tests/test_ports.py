"""Ports are chosen once, and again only where a stranger sits."""

import socket
from pathlib import Path

from devstack.ports import choose

NAMES = ("one", "two")


def test_ports_are_remembered(tmp_path: Path) -> None:
    first = choose(tmp_path / "ports.json", NAMES, in_use_by_us=[])

    assert choose(tmp_path / "ports.json", NAMES, in_use_by_us=[]) == first


def test_only_a_port_that_a_stranger_took_is_chosen_again(tmp_path: Path) -> None:
    first = choose(tmp_path / "ports.json", NAMES, in_use_by_us=[])

    with socket.create_server(("127.0.0.1", first["one"])):
        second = choose(tmp_path / "ports.json", NAMES, in_use_by_us=[])

    assert second["one"] not in first.values()
    assert second["two"] == first["two"]


def test_a_port_that_we_hold_ourselves_stays(tmp_path: Path) -> None:
    first = choose(tmp_path / "ports.json", NAMES, in_use_by_us=[])

    with socket.create_server(("127.0.0.1", first["one"])):
        assert choose(tmp_path / "ports.json", NAMES, in_use_by_us=["one"]) == first


def test_stacks_side_by_side_choose_different_ports(tmp_path: Path) -> None:
    chosen: set[int] = set()
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        mine = choose(tmp_path / folder / "ports.json", NAMES, in_use_by_us=[]).values()
        assert not chosen & set(mine)
        chosen |= set(mine)
