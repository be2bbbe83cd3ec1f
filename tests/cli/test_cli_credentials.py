"""How the server gets into a repository: the operator's word first, then what is stored."""

import os
import subprocess

import pytest

from formicary.cli import credentials
from formicary.cli.credentials import credential_of, credentials_of, hook_secret_of
from formicary.cli.masterkey import MasterKey
from formicary.cli.settings import read_settings
from formicary.runner.core.errors import SetupError
from formicary.runner.core.records import Repository, Secret, SecretKind
from formicary.runner.queen.secrets import Secrets
from formicary.runner.store.sqlite import open_store


@pytest.fixture
async def kept(tmp_path):
    """A store with a repository, and a way to store its credentials."""
    store = open_store(tmp_path / "data")
    secrets = Secrets(store, MasterKey(tmp_path / "data", {}))
    new = Repository(id=0, name="app", path="/m/app.git", url="https://git.example/app.git", forge="github")
    repository = await store.write(lambda tx: tx.put_repository(new))

    async def put(name, value):
        secret = Secret(repository_id=repository.id, kind=SecretKind.CREDENTIAL, name=name)
        await secrets.put(secret, value)

    yield repository, store, secrets, put
    store.close()


def settings_of(tmp_path, *repositories):
    return read_settings({"data": tmp_path / "data", "repo": list(repositories)}, environment={}, folder=tmp_path)


async def test_what_is_stored_is_used_where_the_operator_says_nothing(tmp_path, kept):
    repository, store, secrets, put = kept
    settings = settings_of(tmp_path)
    get = credential_of(settings, store, secrets.credential)
    assert get(repository.id, "token") is None and get(999, "token") is None
    assert hook_secret_of(settings, stored=secrets.credential)(repository) is None
    for name in ("token", "username", "webhook_secret"):
        await put(name, f"the-{name}")
        assert get(repository.id, name) == f"the-{name}"
    found = credentials_of(settings, stored=secrets.credential)(repository)
    assert (found.token, found.username, found.deploy_key) == ("the-token", "the-username", None)
    assert hook_secret_of(settings, stored=secrets.credential)(repository) == b"the-webhook_secret"
    await put("token", "newer")
    assert get(repository.id, "token") == "newer"


async def test_the_operators_word_wins(tmp_path, kept):
    repository, store, secrets, put = kept
    await put("token", "stored")
    await put("webhook_secret", "stored")
    said = {"url": repository.url, "token_env": "T", "webhook_secret_env": "W", "username": "me"}
    settings, variables = settings_of(tmp_path, said), {"T": "said-t", "W": "said-w"}
    get = credential_of(settings, store, secrets.credential, variables)
    assert [get(repository.id, name) for name in ("token", "webhook_secret", "username")] == ["said-t", "said-w", "me"]
    found = credentials_of(settings, variables, secrets.credential)(repository)
    assert (found.token, found.username) == ("said-t", "me")
    with pytest.raises(SetupError, match="variable T is not set"):
        credential_of(settings, store, secrets.credential, {})(repository.id, "token")


async def test_hooks_of_a_repository_whose_secret_cannot_be_had_are_refused_alone(tmp_path, kept):
    """D8: nobody knows what would sign them, and no default stands in."""
    repository, _, secrets, put = kept
    await put("webhook_secret", "stored")
    (tmp_path / "data" / "master.key").unlink()
    lost = Secrets(secrets._store, MasterKey(tmp_path / "data", {}))
    secret = hook_secret_of(settings_of(tmp_path), stored=lost.credential)
    assert len(secret(repository)) == 32 and secret(repository) != secret(repository)
    said = {"url": repository.url, "webhook_secret_env": "W"}
    assert len(hook_secret_of(settings_of(tmp_path, said), {}, lost.credential)(repository)) == 32


def test_which_entry_speaks_of_a_repository_is_found_once(tmp_path, monkeypatch):
    """Each hook call asks it of every repository; what the entry says is read anew all the same."""
    asked, finding = [], credentials.said_of
    monkeypatch.setattr(credentials, "said_of", lambda *about: asked.append(about) or finding(*about))
    said = [{"url": f"https://host.example/{n}.git", "webhook_secret_env": f"W{n}"} for n in range(3)]
    variables = {"W0": "zero", "W1": "one", "W2": "two"}
    secret = hook_secret_of(settings_of(tmp_path, *said), variables)
    repositories = [Repository(id=n + 1, name=f"r{n}", path="/m", url=one["url"]) for n, one in enumerate(said)]
    for _ in range(3):
        assert [secret(one) for one in repositories] == [b"zero", b"one", b"two"]
    assert len(asked) == 3
    variables["W1"] = "changed"
    assert secret(repositories[1]) == b"changed"


async def test_a_stored_key_reaches_ssh_without_a_disk(tmp_path, kept):
    """At rest it is sealed; ssh reads it from the server's memory."""
    repository, _, secrets, put = kept
    file = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file], check=True)
    await put("deploy_key", file.read_text())
    found = credentials_of(settings_of(tmp_path), stored=secrets.credential)
    path = found(repository).deploy_key
    assert path == found(repository).deploy_key and str(path).startswith(f"/proc/{os.getpid()}/fd/")
    shown = subprocess.run(["ssh-keygen", "-y", "-f", path], check=True, capture_output=True, text=True)
    assert shown.stdout.split()[:2] == file.with_suffix(".pub").read_text().split()[:2]
    body = file.read_text().splitlines()[2].encode()
    assert not any(body in one.read_bytes() for one in (tmp_path / "data").rglob("*") if one.is_file())


@pytest.mark.parametrize("form", [(), ("-m", "PEM"), ("-m", "PKCS8")], ids=["openssh", "pem", "pkcs8"])
async def test_a_key_with_a_passphrase_is_told_as_such(tmp_path, kept, form):
    """ssh would only say that the other side does not accept it."""
    repository, _, secrets, put = kept
    said = {"url": "ssh://git@host.example/app.git", "name": "app", "deploy_key": str(tmp_path / "key")}
    make = ["ssh-keygen", "-q", "-t", "rsa", *form, "-f", tmp_path / "key"]
    subprocess.run([*make, "-N", "some words"], check=True)
    with pytest.raises(SetupError, match="`deploy_key` of app has a passphrase"):
        credentials_of(settings_of(tmp_path, said))(repository)
    await put("deploy_key", (tmp_path / "key").read_text())
    with pytest.raises(SetupError, match="has a passphrase"):
        credentials_of(settings_of(tmp_path), stored=secrets.credential)(repository)
    (tmp_path / "key").unlink()
    subprocess.run([*make, "-N", ""], check=True)
    assert credentials_of(settings_of(tmp_path, said))(repository).deploy_key == tmp_path / "key"
