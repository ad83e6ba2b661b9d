"""A node's name, its roles, and when its name is free."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ingestd.errors import Misconfigured
from ingestd.node import ROLES, SILENT_SECONDS, Node, Standing, own_name, roles_of, switched_off
from ingestd.settings import DaemonSettings

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SETTINGS = DaemonSettings()


def test_without_a_word_a_node_has_every_role_that_is_configured() -> None:
    assert roles_of(None, SETTINGS) == ROLES
    closed = DaemonSettings.model_validate({"sftp": {"enabled": False}, "http": {"enabled": False}})
    assert roles_of(None, closed) == ("ftp", "folder", "worker")


def test_a_node_has_the_roles_that_are_named_in_one_order() -> None:
    assert roles_of("worker, ftp", SETTINGS) == ("ftp", "worker")


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ("ftp,fpt", r"--roles: fpt: is no role; the roles are ftp, sftp, folder, web, worker"),
        ("ftp,web", r"--roles: web: is switched off in ingestd.toml: http.enabled is false"),
        (" , ", r"--roles: roles: names none"),
    ],
)
def test_a_role_that_cannot_be_had_is_named(wanted: str, told: str) -> None:
    with pytest.raises(Misconfigured, match=told):
        roles_of(wanted, DaemonSettings.model_validate({"http": {"enabled": False}}))


def test_the_other_roles_are_switched_off_for_every_process() -> None:
    assert switched_off(ROLES) == {}
    assert switched_off(("ftp", "worker")) == {
        "INGESTD_SFTP__ENABLED": "false",
        "INGESTD_FOLDER__ENABLED": "false",
        "INGESTD_HTTP__ENABLED": "false",
    }


@pytest.mark.parametrize(
    ("configured", "host", "name"),
    [
        ("alpha", "host", "alpha"),
        ("", "h.example", "h.example"),
        ("", "höst!", "h-st-"),
        ("", "a" * 60, "a" * 48),
    ],
)
def test_a_node_is_called_as_configured_or_as_its_host(configured: str, host: str, name: str) -> None:
    assert own_name(configured, host) == name


def node(home: str = "one", place: str = "host:/data", roles: tuple[str, ...] = ROLES) -> Node:
    return Node(name="alpha", home=home, place=place, version="1", roles=roles)


def standing(*, ended: bool = False) -> Standing:
    return Standing(id=1, node=node(), since=NOON, beat_at=NOON, ended_at=NOON if ended else None)


def test_a_name_is_free_when_its_node_is_silent_or_stopped() -> None:
    soon, late = NOON + timedelta(seconds=SILENT_SECONDS), NOON + timedelta(seconds=SILENT_SECONDS + 1)
    other = node(home="two")
    assert (standing().state(soon), standing().gives_way(other, soon)) == ("running", False)
    assert (standing().state(late), standing().gives_way(other, late)) == ("silent", True)
    assert (standing(ended=True).state(soon), standing(ended=True).gives_way(other, soon)) == ("stopped", True)


def test_a_home_takes_its_own_name_back_at_once_and_its_copy_does_not() -> None:
    assert standing().gives_way(node(), NOON)
    assert not standing().gives_way(node(place="host:/copy"), NOON)


def test_results_are_fetched_by_ftp_and_sftp() -> None:
    assert [node(roles=(role,)).results for role in ROLES] == [True, True, False, False, False]
