"""Shared resources in the store: one of each type and name in an organization."""

from __future__ import annotations

import pytest

from formicary.runner.core.errors import Conflict, NotFound
from formicary.runner.core.records import JobResource


def database(**fields):
    return JobResource(
        **{"resource_type": "db", "quota": 3, "tags": ("eu", "ssd"), "configs": {"port": 5432}, **fields}
    )


async def test_a_resource_comes_back_as_it_was(world):
    made = await world.store.write(lambda tx: tx.put_resource(database()))
    assert (made.id, made.tags, made.configs, made.quota) == (1, ("eu", "ssd"), {"port": 5432}, 3)
    assert made.created_at == made.updated_at > 0
    assert world.store.read().resource(1) == made
    assert world.store.read().resources() == [made]


async def test_a_resource_is_changed_by_its_id_and_keeps_its_age(world):
    made = await world.store.write(lambda tx: tx.put_resource(database()))
    changed = await world.store.write(
        lambda tx: tx.put_resource(made.model_copy(update={"quota": 9, "disabled": True}))
    )
    assert (changed.quota, changed.disabled, changed.created_at) == (9, True, made.created_at)
    assert world.store.read().resource(1) == changed
    with pytest.raises(NotFound):
        await world.store.write(lambda tx: tx.put_resource(database(id=7)))


async def test_one_of_a_type_and_name_in_an_organization(world):
    await world.store.write(lambda tx: tx.put_resource(database()))
    with pytest.raises(Conflict, match="a resource `db` already"):
        await world.store.write(lambda tx: tx.put_resource(database(platform="linux")))
    others = [database(name="second"), database(organization_id="other"), database(resource_type="queue")]
    for other in others:
        await world.store.write(lambda tx, other=other: tx.put_resource(other))
    assert len(world.store.read().resources()) == 4
    with pytest.raises(Conflict, match="of the name `second`"):
        await world.store.write(lambda tx: tx.put_resource(database(name="second")))


async def test_a_deleted_resource_is_gone(world):
    await world.store.write(lambda tx: tx.put_resource(database()))
    assert await world.store.write(lambda tx: tx.delete_resource(1))
    assert not await world.store.write(lambda tx: tx.delete_resource(1))
    assert world.store.read().resource(1) is None
