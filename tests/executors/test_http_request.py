"""What a task sends, where a redirect leads, and what an answer tells: without a network."""

import json

import pytest

from formicary.executors.http_request import is_json, outputs_of, redirected, request_of
from formicary.runner.core.definition import TaskDefinition

FORM = "application/x-www-form-urlencoded"


def sent(method="HTTP_GET", url="http://a.example/x", **task):
    return request_of(TaskDefinition(task_type="t", method=method, url=url, **task), "1.2").made()


def asked(method="HTTP_POST_JSON", **task):
    return request_of(TaskDefinition(task_type="t", method=method, url="https://a.example/x", **task), "1.2")


def test_nothing_is_sent_that_was_not_named():
    found = dict(sent().headers)
    assert found == {"host": "a.example", "accept": "*/*", "accept-encoding": "identity", "user-agent": "formicary/1.2"}


def test_named_headers_replace_ours_in_any_case():
    found = sent("HTTP_POST_JSON", body={"a": 1}, headers={"CONTENT-TYPE": "text/x", "user-agent": "me", "X-A": "é\n"})
    assert found.headers["content-type"] == "text/x" and found.headers["user-agent"] == "me"
    assert dict(found.headers.raw)[b"X-A"] == "é".encode()


def test_query_is_encoded_and_joins_that_of_the_url():
    found = sent(url="http://a.example/x?one=1#part", query={"two": "a&b=c d", "three": ""})
    assert str(found.url) == "http://a.example/x?one=1&two=a%26b%3Dc+d&three="


@pytest.mark.parametrize(
    "method, body, content, kind",
    [
        ("HTTP_POST_JSON", {"a": [1, None, "ü"]}, '{"a":[1,null,"ü"]}', "application/json"),
        ("HTTP_PUT_JSON", '{"as": "it is"}', '{"as": "it is"}', "application/json"),
        ("HTTP_POST_FORM", {"a": "x y", "b": [True, 2], "c": None}, "a=x+y&b=true&b=2&c=", FORM),
        ("HTTP_PUT_FORM", "a=b", "a=b", FORM),
        ("HTTP_DELETE", {"a": 1}, '{"a":1}', "application/json"),
        ("HTTP_DELETE", "text", "text", None),
        ("HTTP_POST_JSON", None, "", None),
    ],
)  # fmt: skip
def test_a_body_by_method(method, body, content, kind):
    found = sent(method, body=body)
    assert found.method == method.split("_")[1]
    assert found.content.decode() == content and found.headers.get("content-type") == kind
    assert found.headers["content-length"] == str(len(content.encode()))


@pytest.mark.parametrize(
    "task, words",
    [
        ({"url": ""}, "no URL"),
        ({"url": "http://a.example/\x01"}, "cannot be called"),
        ({"url": "http://a.example:port/"}, "cannot be called"),
        ({"headers": {"X-Key": "one\ntwo"}}, "X-Key"),
        ({"method": "HTTP_POST_FORM", "body": ["a"]}, "mapping of names"),
    ],
)
def test_what_cannot_be_sent_says_why(task, words):
    with pytest.raises(ValueError, match=words):
        sent(**task)


def test_a_redirect_in_the_same_place_keeps_what_the_task_named():
    found = redirected(asked(body={"a": 1}, headers={"Authorization": "x"}), 307, "/y?z#part")
    assert str(found.url) == "https://a.example/y?z" and found.method == "POST" and found.body == b'{"a":1}'
    assert found.headers == (("Authorization", "x"),)


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_post_becomes_a_get_without_its_body(status):
    found = redirected(asked(body={"a": 1}, headers={"X-A": "1", "content-type": "x"}), status, "/y").made()
    assert found.method == "GET" and found.content == b"" and "content-type" not in found.headers
    assert found.headers["x-a"] == "1"


def test_a_put_is_repeated_as_it_was():
    assert redirected(asked("HTTP_PUT_JSON", body={}), 302, "/y").method == "PUT"


@pytest.mark.parametrize("place", ["https://b.example/", "https://a.example:8443/", "//b.example/y"])
def test_another_server_gets_nothing_that_the_task_named(place):
    """T14, T8: a redirect does not carry a secret elsewhere."""
    found = redirected(asked("HTTP_GET", headers={"X-Key": "secret"}), 302, place).made()
    assert "x-key" not in found.headers and found.headers["user-agent"] == "formicary/1.2"
    with pytest.raises(ValueError, match="not sent to another server"):
        redirected(asked(body={"key": "secret"}), 308, place)


def test_a_redirect_never_gives_up_encryption():
    with pytest.raises(ValueError, match="from https:// to http://"):
        redirected(asked("HTTP_GET"), 301, "http://a.example/x")


def test_the_outputs_are_what_a_json_object_says_at_its_top():
    body = {"id": 7, "name": "ü\nx", "ok": True, "none": None, "deep": {"a": 1}, "list": [1], "no name": 1, "2x": 1}
    found = outputs_of(201, json.dumps(body).encode())
    assert found == {"id": "7", "name": "ü\nx", "ok": "true", "http_status": "201"}


@pytest.mark.parametrize("body", [b"", b"nothing", b"[1]", b"[" * 100_000, b'{"a":' * 100_000, b"\xff"])
def test_what_is_no_object_tells_the_status_alone(body):
    assert outputs_of(200, body) == {"http_status": "200"}


def test_numbers_are_as_they_were_written_and_the_status_is_ours():
    found = outputs_of(404, b'{"big": %s, "f": 1.10, "nan": NaN, "http_status": 200}' % (b"9" * 5000))
    assert found["f"] == "1.10" and len(found["big"]) == 5000 and found["http_status"] == "404"


@pytest.mark.parametrize("kind, yes", [
    ("application/json", True), ("application/problem+json; charset=utf-8", True), ("Application/JSON;x", True),
    ("text/json-like", False), ("application/jsonl", False), ("", False),
])  # fmt: skip
def test_json_is_known_by_its_type(kind, yes):
    assert is_json(kind) is yes
