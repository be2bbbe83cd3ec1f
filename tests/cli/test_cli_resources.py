"""`formicary resources`: what runs share, from the command line."""

import json

import pytest


@pytest.fixture(autouse=True)
def nothing_left(here, server):
    yield
    for one in server.get("/api/jobs/resources")["records"]:
        server.call(f"/api/jobs/resources/{one['id']}", "DELETE")


def shown(here):
    return json.loads(here("resources", "list", "--json").out)


def test_set_change_switch_and_forget(here):
    assert "nothing is registered" in here("resources", "list").out
    said = here(
        "resources", "set", "db", "--quota", "2", "--config", "host=db1", "--config", "port=5432", "--tag", "eu"
    )
    assert (said.code, said.out) == (0, "db is registered: 2 units\n")
    said = here("resources", "set", "db", "--config", "host=db2", "--config", "port=", "--platform", "linux")
    assert (said.code, said.out) == (0, "db is changed: 2 units\n")
    (one,) = shown(here)
    assert (one["configs"], one["tags"], one["platform"], one["quota"]) == ({"host": "db2"}, ["eu"], "linux", 2)
    assert here("resources", "disable", "db").out == "db is disabled\n"
    heads, row = here("resources", "list").out.splitlines()
    assert heads.split() == ["type", "name", "held", "platform", "tags", "properties"]
    assert row.split() == ["db", "-", "0", "of", "2", "linux", "eu", "host=db2", "disabled"]
    assert here("resources", "enable", "db").out == "db is enabled\n"
    assert not shown(here)[0]["disabled"]
    assert here("resources", "rm", "db").out == "db is forgotten\n"
    said = here("resources", "rm", "db")
    assert said.code == 1 and "there is no resource `db`" in said.err


def test_several_of_a_type_have_names(here):
    for name in ("pixel", "galaxy"):
        assert here("resources", "set", "phone", "--name", name).out == f"phone {name} is registered: 1 unit\n"
    assert here("resources", "disable", "phone").code == 1
    assert here("resources", "disable", "phone", "--name", "pixel").code == 0
    assert [(one["name"], one["disabled"]) for one in shown(here)] == [("galaxy", False), ("pixel", True)]


def test_what_is_no_property_is_refused(here):
    said = here("resources", "set", "db", "--config", "host")
    assert said.code == 1 and "write it as KEY=VALUE" in said.err
    said = here("resources", "set", "db", "--config", "no name=1")
    assert said.code == 1 and "configs" in said.err
