"""What stands in the way of a server is said in one sentence with a remedy, before anything is started."""

import socket

import pytest


@pytest.mark.parametrize("setting", ["data", "work"])
def test_a_folder_that_cannot_be_made(setting, formicary, tmp_path):
    taken = tmp_path / "taken"
    taken.write_text("a file")
    options = {"data": tmp_path / "data", "work": tmp_path / "work", setting: taken / "below"}
    said = formicary("serve", "--port", "0", *(word for name, path in options.items() for word in (f"--{name}", path)))
    assert said.code == 1 and said.err == (
        f"error: the folder {taken / 'below'} cannot be made (Not a directory); give another --{setting}\n"
    )
    assert "listening" not in said.out


@pytest.fixture
def taken_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_port_that_is_taken(formicary, tmp_path, taken_port):
    said = formicary("serve", "--data", tmp_path / "data", "--port", taken_port)
    assert said.code == 1 and "Give another --port" in said.err


def test_an_address_that_is_not_ours(formicary, tmp_path):
    said = formicary("serve", "--data", tmp_path / "data", "--host", "192.0.2.1", "--port", "0")
    assert said.code == 1 and "give --host an address of this machine" in said.err and "--port" not in said.err
