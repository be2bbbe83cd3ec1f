"""GET /schema.json: the language as a JSON Schema, for those who have a token (T17)."""

from formicary.runner.core.schema import schema


async def test_the_schema_wants_a_token(client, admin):
    assert (await client.get("/schema.json")).status_code == 401
    response = await client.get("/schema.json", headers=admin)
    assert response.headers["content-type"].startswith("application/schema+json")
    assert response.json() == schema()
