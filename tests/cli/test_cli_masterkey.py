"""The master key: where it is found, when it is made, and when it is refused."""

import base64
import os
import stat

import pytest

from formicary.cli.masterkey import MasterKey
from formicary.runner.core.errors import SetupError
from formicary.runner.core.records import Secret
from formicary.runner.queen.secrets import Secrets
from formicary.runner.store.sqlite import open_store

KEY = bytes(range(32))
SEALED = {"0123456789ab": 2}


def key_id(text):
    from pathlib import Path

    return MasterKey(Path("/nowhere"), {"FORMICARY_MASTER_KEY": text})({}).key_id


def test_it_is_made_at_the_first_need_for_its_owner_alone(tmp_path):
    key = MasterKey(tmp_path, {})
    assert key.complaint({}) == "" and not list(tmp_path.iterdir())
    made = key({}).key_id
    assert [path.name for path in tmp_path.iterdir()] == ["master.key"]
    assert stat.S_IMODE((tmp_path / "master.key").stat().st_mode) == 0o600
    assert MasterKey(tmp_path, {})({made: 7}).key_id == made == key_id((tmp_path / "master.key").read_text())
    assert made not in (tmp_path / "master.key").read_text()


def test_a_missing_key_is_not_made_anew_while_something_is_sealed(tmp_path):
    with pytest.raises(SetupError, match=r"2 secrets are sealed .* 0123456789ab, and .*master.key is not there; put"):
        MasterKey(tmp_path, {})(SEALED)
    assert not list(tmp_path.iterdir())
    assert "is not there" in MasterKey(tmp_path, {}).complaint(SEALED)


def test_the_right_key_counts_when_it_is_back(tmp_path):
    """One that fits nothing is not kept for ever."""
    wrong, right = MasterKey(tmp_path, {}), KEY.hex()
    assert wrong({}).key_id != key_id(right)
    (tmp_path / "master.key").write_text(right)
    assert wrong({key_id(right): 1}).key_id == key_id(right)


def test_another_key_is_complained_about(tmp_path):
    key = MasterKey(tmp_path, {})
    other = key({}).key_id
    assert f"holds the key {other}" in key.complaint(SEALED) == MasterKey(tmp_path, {}).complaint(SEALED)
    assert key.complaint({other: 1}) == ""


@pytest.mark.parametrize(
    "text",
    [KEY.hex(), KEY.hex().upper(), base64.b64encode(KEY).decode(), base64.urlsafe_b64encode(KEY).decode() + "\n"],
)
def test_the_environment_holds_it_in_hex_or_base64(text):
    assert key_id(text) == key_id(KEY.hex())


@pytest.mark.parametrize("text", ["short", KEY.hex()[:-2], base64.b64encode(KEY[:16]).decode(), "ü" * 64])
def test_what_is_no_key_is_refused_without_being_shown(tmp_path, text):
    with pytest.raises(SetupError, match="FORMICARY_MASTER_KEY does not hold a master key") as caught:
        MasterKey(tmp_path, {"FORMICARY_MASTER_KEY": text})({})
    assert text not in str(caught.value)


def test_a_named_file_is_read_and_never_made(tmp_path):
    file = tmp_path / "key"
    variables = {"FORMICARY_MASTER_KEY_FILE": str(file)}
    with pytest.raises(SetupError, match="FORMICARY_MASTER_KEY_FILE names"):
        MasterKey(tmp_path, variables)({})
    file.write_text(KEY.hex())
    file.chmod(0o400)
    assert MasterKey(tmp_path, variables)({}).key_id == key_id(KEY.hex())
    with pytest.raises(SetupError, match="not in both"):
        MasterKey(tmp_path, {**variables, "FORMICARY_MASTER_KEY": KEY.hex()})


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o602])
def test_a_file_that_others_may_read_or_change_is_refused(tmp_path, mode):
    file = tmp_path / "master.key"
    file.write_text(KEY.hex())
    file.chmod(mode)
    with pytest.raises(SetupError, match="chmod 600"):
        MasterKey(tmp_path, {})({})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_of_somebody_else_is_refused(tmp_path):
    file = tmp_path / "master.key"
    file.write_text(KEY.hex())
    file.chmod(0o600)
    os.chown(file, 4711, 4711)
    with pytest.raises(SetupError, match="chown"):
        MasterKey(tmp_path, {})({})


async def test_doctor_says_whether_what_is_sealed_opens(tmp_path, formicary):
    data, settings = tmp_path / "data", ["--data", tmp_path / "data", "--json"]
    store = open_store(data)
    assert "Nothing is sealed yet" in formicary("doctor", *settings).out
    await Secrets(store, MasterKey(data, {})).put(Secret(name="Key"), "hunter2")
    assert "opens what is sealed" in formicary("doctor", *settings).out
    (data / "master.key").unlink()
    said = formicary("doctor", *settings)
    assert said.code == 1 and "put your copy of the key back" in said.out and not (data / "master.key").exists()
    store.close()
