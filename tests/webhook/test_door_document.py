"""The OpenAPI document: valid, complete, and the same as what is served."""

import re

import pytest
import yaml
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.routing import Route

from formicary.webhook.app import all_operations, build_app
from formicary.webhook.openapi import document, plain_path

PAGES = {"/login", "/logout"}


@pytest.fixture
async def served(client, admin):
    response = await client.get("/api/openapi.yaml", headers=admin)
    assert response.headers["content-type"].startswith("application/yaml")
    return yaml.safe_load(response.text)


async def test_the_document_is_valid(served):
    assert served["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(served).validate()


async def test_the_document_and_the_routes_agree(app, served):
    described = {(method.upper(), path) for path, methods in served["paths"].items() for method in methods}
    routes = {
        (method, plain_path(route.path))
        for route in app.routes
        if isinstance(route, Route) and route.path not in PAGES
        for method in route.methods - {"HEAD"}
    }
    assert described == routes


def test_no_operation_is_hidden_behind_another():
    """A path that an earlier route takes would never be reached."""
    seen = []
    for operation in all_operations():
        example = re.sub(r"\{\w+:int\}", "7", re.sub(r"\{\w+\}", "stats", operation.path))
        for earlier in seen:
            assert not (earlier[0] == operation.method and earlier[1].fullmatch(example)), operation.path
        pattern = re.sub(r"\{\w+:int\}", "[0-9]+", re.sub(r"\{\w+\}", "[^/]+", operation.path))
        seen.append((operation.method, re.compile(pattern)))


def test_every_operation_has_a_name_of_its_own():
    found = document(all_operations(), "http://localhost")
    names = [operation["operationId"] for methods in found["paths"].values() for operation in methods.values()]
    assert len(names) == len(set(names))


async def test_only_what_is_open_says_that_it_is(served):
    """T17."""
    opened = {
        path for path, methods in served["paths"].items() for one in methods.values() if one.get("security") == []
    }
    hooks = {"/hooks/commit", "/hooks/github", "/hooks/gitlab", "/hooks/gitea", "/auth/github/webhook"}
    triggers = {"/hooks/trigger/{job_type}/{name}", "/hooks/trigger/{repository}/{job_type}/{name}"}
    assert opened == {*hooks, *triggers, "/health/live", "/health/ready"}


async def test_the_page_loads_nothing_and_names_every_operation(client, admin, served):
    page = await client.get("/api/docs", headers=admin)
    assert page.headers["content-type"].startswith("text/html")
    assert "<script" not in page.text
    assert not re.search(r"""(src|href|action)=["']?(https?:)?//""", page.text)
    for path in served["paths"]:
        assert f"<code>{path}</code>" in page.text


async def test_the_style_of_our_pages_is_the_one_that_the_policy_allows(client, admin):
    import base64
    import hashlib

    page = await client.get("/api/docs", headers=admin)
    style = re.search("<style>(.*)</style>", page.text, re.S)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in page.headers["content-security-policy"]
    assert " style=" not in page.text


def test_extra_routes_are_served(door):
    async def page(request):
        raise AssertionError

    door.pages = [Route("/", page)]
    assert build_app(door).routes[-1].path == "/"
