"""Ports are chosen once, and again only where a stranger sits."""

import socket
from contextlib import ExitStack
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


def test_a_stack_beside_running_ones_chooses_other_ports(tmp_path: Path) -> None:
    with ExitStack() as running:
        # So many that two of them begin at the same place now and then.
        for number in range(40):
            for port in _chosen_in(tmp_path / f"stack-{number}"):
                running.enter_context(socket.create_server(("127.0.0.1", port)))


def test_stacks_that_start_at_once_begin_at_different_places(tmp_path: Path) -> None:
    begins = {min(_chosen_in(tmp_path / f"stack-{number}")) for number in range(10)}

    assert len(begins) > 5


def _chosen_in(folder: Path) -> set[int]:
    folder.mkdir()
    return set(choose(folder / "ports.json", NAMES, in_use_by_us=[]).values())
