"""What every store keeps to: secrets by scope, kind and name, their sealed values apart."""

import sqlite3

import pytest

from formicary.runner.core.errors import SetupError
from formicary.runner.core.records import NewRequest, Repository, Secret, SecretKind, Version
from formicary.runner.store.seal import Broken, Seal
from formicary.runner.store.sqlite import open_reader, open_store


async def put(world, sealed="sealed-1", **values):
    secret = Secret(**{"name": "DeployKey", "key_id": "k1", "created_by": "admin", **values})
    return await world.store.write(lambda tx: tx.put_secret(secret, sealed))


async def test_a_secret_is_kept_once_a_scope_kind_and_name(world):
    """Another value takes the place of the first, and its number."""
    first, new = await put(world, branches=("main", "release/*"), events=("push",))
    assert new and (first.created_at, first.updated_at) == (world.clock.now,) * 2
    world.clock.now += 5
    second, new = await put(world, "sealed-2", created_by="eve")
    assert not new and (second.id, second.created_at) == (first.id, first.created_at)
    assert (second.updated_at, second.created_by, second.branches) == (world.clock.now, "eve", ())
    assert world.store.read().secrets() == [second]
    assert world.store.read().secret(second.id) == second
    assert world.store.read().sealed_secret(second.id) == (second, "sealed-2")


async def test_scopes_and_kinds_stand_beside_each_other(world):
    repository = await world.store.write(lambda tx: tx.put_repository(Repository(id=0, name="demo", path="/srv/demo")))
    scopes = [
        {},
        {"repository_id": repository.id},
        {"repository_id": repository.id, "job_type": "ci"},
        {"repository_id": repository.id, "kind": SecretKind.CREDENTIAL},
    ]
    made = [(await put(world, f"sealed-{number}", **scope))[0] for number, scope in enumerate(scopes)]
    other, new = await put(world, organization_id="other")
    assert new and len({one.id for one in [*made, other]}) == 5
    reader = world.store.read()
    assert reader.secrets() == made and reader.secrets("other") == [other]
    assert [reader.sealed_secret(one.id)[1] for one in made] == [f"sealed-{number}" for number in range(4)]


async def test_a_secret_goes_by_hand_or_with_its_repository(world):
    repository = await world.store.write(lambda tx: tx.put_repository(Repository(id=0, name="demo", path="/srv/demo")))
    own, _ = await put(world, repository_id=repository.id)
    shared, _ = await put(world, key_id="k2")
    assert world.store.read().secret_keys() == {"k1": 1, "k2": 1}
    await world.store.write(lambda tx: tx.delete_repository(repository.id))
    assert world.store.read().secrets() == [shared] and world.store.read().sealed_secret(own.id) is None
    assert await world.store.write(lambda tx: tx.delete_secret(shared.id))
    assert not await world.store.write(lambda tx: tx.delete_secret(shared.id))
    assert (world.store.read().secrets(), world.store.read().secret_keys()) == ([], {})


async def test_secret_parameters_are_sealed_while_they_are_there(tmp_path):
    """T8: with a key no value lies in the database as it is, and no other request's opens."""
    seal = Seal(bytes(32))
    store = open_store(tmp_path, key=lambda _sealed: seal)
    version = await store.write(
        lambda tx: tx.put_version(Version(id=0, job_type="ci", version=0, digest="d", path="p", index=0, text="t"))
    )
    made = []
    for value in ("correct-horse", "battery-staple"):
        new = NewRequest(version_id=version.id, job_type="ci", secret_params={"P": value})
        made.append((await store.write(lambda tx, new=new: tx.create_request(new)))[0].id)
        assert store.read().secret_params(made[-1]) == {"P": value}
    assert not any(value in path.read_bytes() for path in tmp_path.iterdir() for value in (b"correct-h", b"battery-s"))
    with open_reader(tmp_path) as reader, pytest.raises(SetupError, match="no key"):
        reader.secret_params(made[0])
    with sqlite3.connect(tmp_path / "formicary.db", isolation_level=None) as connection:
        connection.execute(
            "UPDATE request_secrets SET params = (SELECT params FROM request_secrets WHERE request_id = ?)", made[:1]
        )
    connection.close()
    assert store.read().secret_params(made[0]) == {"P": "correct-horse"}
    with pytest.raises(Broken):
        store.read().secret_params(made[1])
    store.close()
