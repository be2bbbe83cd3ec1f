"""The trigger `webhook`: read in both dialects, its templates left for the call; and what a call comes to."""

from functools import partial

import pytest
from costs import within
from loading import SHORT, bad, good

from formicary.runner.core.errors import RequestRefused
from formicary.runner.core.heard import Heard, hear
from formicary.runner.core.language.deferred import masked, unmasked
from formicary.runner.core.load import constant_plan, load, plan
from formicary.runner.core.loading.samples import SAMPLE_NAMES
from formicary.runner.core.webhooks import RateLimit, WebhookTrigger, safe_headers

HEAD = "name: go, auth: hmac_sha256, secret_config: K"


def job(inside):
    return f"{SHORT}triggers:\n  webhook: {{{HEAD}, {inside}}}\n"


def trigger(inside):
    (found,) = good(job(inside)).triggers.webhook
    return found


def go(text):
    (found,) = load(f"template: go\n{SHORT}{text}", path="ci.yml")
    return found


def heard(inside, body, headers=None):
    return hear(trigger(inside), "native", body, headers or {})


def test_every_key():
    found = trigger(
        "header: X-Sig, params: {V: '{{ body.v }}', W: x}, filter: '{{ body.a == 1 }}', dedup_key: '{{ body.id }}', "
        "rate_limit: {max: 3, window: 2m}"
    )
    assert found == WebhookTrigger(
        name="go",
        auth="hmac_sha256",
        secret_config="K",
        header="X-Sig",
        params={"V": "{{ body.v }}", "W": "x"},
        filter="{{ body.a == 1 }}",
        dedup_key="{{ body.id }}",
        rate_limit=RateLimit(max=3, window=120.0),
    )
    assert trigger("rate_limit: {max: 1}").rate_limit.window == 60
    assert trigger("params: {}").where == "X-Hub-Signature-256"


def test_several_of_them_as_a_list_or_as_items():
    one, two = "{name: a, auth: token, secret_config: K}", "{name: b, auth: token, secret_config: K}"
    listed = good(f"{SHORT}triggers:\n  push: {{}}\n  webhook: [{one}, {two}]\n").triggers
    items = good(f"{SHORT}triggers:\n- push: {{}}\n- webhook: {one}\n- webhook: {two}\n").triggers
    assert listed == items and [found.name for found in items.webhook] == ["a", "b"]
    (problem,) = bad(f"{SHORT}triggers:\n- webhook: {one}\n- webhook: {one}\n")
    assert "Two webhook triggers are called `a`" in problem.message


@pytest.mark.parametrize(
    "written", ['"{{ body.v }}"', "'{{ body.v }}'", "{{ body.v }}", "{{ body['v'] }}", "{{ body.v | default('#: ]') }}"]
)
def test_a_template_is_kept_as_it_was_written_whatever_stands_around_it(written):
    text = f"{SHORT}triggers:\n  webhook:\n    name: go\n    auth: token\n    secret_config: K\n    filter: {written}\n"
    assert good(text).triggers.webhook[0].filter == written.strip("\"'" if written[0] in "\"'" else "")
    assert trigger(f"params: {{V: {written}, W: x}}").params["W"] == "x"


def test_the_job_s_own_rendering_leaves_them_alone():
    """What is not rendered keeps the plan a constant; what is, is planned without a `body`."""
    text = job("filter: '{{ body.x }}'")
    plan(text, 0, SAMPLE_NAMES)
    assert constant_plan(text, 0) is not None
    text = job("filter: '{{ body.x }}'") + "description: '{{ JobID }}'\n"
    assert plan(text, 0, SAMPLE_NAMES).definition.triggers.webhook[0].filter == "{{ body.x }}"


@pytest.mark.parametrize(
    ("inside", "told", "column"),
    [
        ("filter: '{{ body. }}'", "not valid", 69),
        ("filter: '{{ GitBranch }}'", "no `GitBranch` when a call comes", 68),
        ("filter: '{{ body | evil }}'", "evil", 69),
        ("header: 'a b'", "not the name of a header", 68),
        ("header: Host", "belongs to the connection", 68),
        ("rate_limit: {max: 0}", "whole number", 78),
        ("rate_limit: {window: 1m}", "needs `max`", 72),
        ("rate_limit: {max: 1, window: 2d}", "not a duration", 89),
        ("rate_limit: {max: 1, window: 25h}", "one day", 89),
        ("fliter: x", "not a key of a webhook trigger", 60),
        ("params: [a]", "must be a mapping", 68),
        ("params: {'{{ x }}': y}", "may not hold a template", 69),
        ("params: {" + ", ".join(f"p{n}: x" for n in range(51)) + "}", "at most 50", 68),
    ],
)
def test_what_is_wrong_has_its_place(inside, told, column):
    (problem,) = bad(job(inside))
    assert told in f"{problem.message} {problem.expected}", problem
    assert (problem.line, problem.column) == (4, column), problem


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{auth: token, secret_config: K}", "needs `name`"),
        ("{name: a, secret_config: K}", "needs `auth`"),
        ("{name: a, auth: token}", "needs `secret_config`"),
        ("{name: a/b, auth: token, secret_config: K}", "`a/b` is not a trigger's name"),
        ("{name: a, auth: none, secret_config: K}", "`none` is none of"),
        ("{name: a, auth: token, secret_config: a-b}", "not the name of a secret"),
        ("{name: '{{ x }}', auth: token, secret_config: K}", "`triggers` may not hold a template"),
        ("go", "must be a mapping"),
        ("[" + ", ".join(f"{{name: n{n}, auth: token, secret_config: K}}" for n in range(21)) + "]", "at most 20"),
    ],
)
def test_what_cannot_be_left_out_and_what_it_may_be(text, told):
    assert any(told in str(problem) for problem in bad(f"{SHORT}triggers:\n  webhook: {text}\n"))


def test_a_template_needs_its_place_to_be_left_alone():
    """Where it is not seen before anything is rendered, it is refused, and not rendered without a body."""
    found = bad("{job_type: ci, script: make, triggers: {webhook: {name: a, auth: token, filter: '{{ body.x }}'}}}\n")
    assert any("may not hold a template" in problem.message for problem in found)
    assert any("statement" in str(one) or "template" in str(one) for one in bad(f"{SHORT}triggers:\n  {{% if x %}}\n"))


def test_as_the_original_writes_them():
    found = go(
        "triggers:\n- type: webhook\n  name: push\n  path: /x\n  auth: {method: bearer_token, secret_config: K}\n"
        "  filter: '{{ if eq .Body.ref \"main\" }}true{{ end }}'\n  params: {H: '{{ index .Headers \"X-Event\" }}'}\n"
        "- {type: webhook, name: api, auth: {method: api_key_header, secret_config: K, header: X-Key}}\n"
    )
    push, api = found.definition.triggers.webhook
    assert (push.auth, push.where, api.auth, api.where) == ("token", "Authorization", "token", "X-Key")
    assert hear(push, "go", {"ref": "other"}, {}).unwanted == "its filter says nothing"
    assert hear(push, "go", {"ref": "main"}, {"x-event": "e"}).params == {"H": "e"}
    assert not found.warnings
    open_ = go("triggers:\n- {type: webhook, name: dev, params: {q: '{{ .Query.x }}'}}\n")
    assert open_.definition.triggers.webhook[0].auth == "" and len(open_.warnings) == 2
    assert any("every call of it is refused" in str(problem) for problem in open_.warnings)
    assert go("triggers:\n- {type: webhook, name: a, auth: {method: hmac_sha256}}\n").problems
    assert go("triggers:\n- {type: webhook, auth: {method: hmac_sha256, secret_config: K}}\n").problems


def test_what_a_call_comes_to():
    inside = (
        "params: {V: '{{ body.v }}', L: '{{ body.l }}', T: 'v{{ body.v }}', Z: '{{ body.z }}', F: x}, "
        "dedup_key: '{{ body.v }}'"
    )
    found = heard(inside, {"v": 3, "l": [1, {"a": True}], "z": None})
    params = {"V": 3, "L": [1, {"a": True}], "T": "v3", "F": "x"}
    assert found == Heard("", params, ("V", "L", "T"), "3")
    with pytest.raises(RequestRefused, match=r"`params\.L` cannot be rendered: there is no `l`"):
        heard(inside, {"v": 3})
    with pytest.raises(RequestRefused, match="`dedup_key` is empty"):
        heard("dedup_key: '{{ body.a }}'", {"a": " "})
    with pytest.raises(RequestRefused, match="has 1001 characters"):
        heard("dedup_key: '{{ body.a }}'", {"a": "x" * 1001})
    assert heard("filter: '{{ headers[\"x-a\"] }}'", {}, {"x-a": "true"}) == Heard()


@pytest.mark.parametrize(
    "text", ["{{ JobID }}", "\n- x: {{", "\U0010f0000\U0010f001", "\U0010f002K\U0010f003", "\0", "a" * 200_000]
)
def test_what_was_sent_comes_back_as_it_was(text):
    """T6: a value never becomes YAML, a template or a secret."""
    assert heard("params: {V: '{{ body.v }}', W: 'x{{ body.v }}'}", {"v": text}).params == {"V": text, "W": f"x{text}"}


def test_nothing_that_proves_who_calls_is_kept():
    sent = {"Authorization": "a", "Cookie": "b", "X-Hub-Signature-256": "c", "X-Gitlab-Token": "d", "X-Proof": "e"}
    kept = {"X-GitHub-Event": "push", "Content-Type": "x"}
    made = WebhookTrigger(name="a", auth="token", secret_config="K", header="x-proof")
    assert safe_headers(sent | kept, made) == {"x-github-event": "push", "content-type": "x"}
    assert len(safe_headers({f"h{n}": "x" * 5000 for n in range(200)}, made)["h0"]) == 1000


def test_the_text_is_as_long_as_before_and_comes_back():
    text = "a: {{ x }}\ntriggers:\n  webhook: {filter: \"{{ body['a'] }}\", x: '{% if %}'}\n# {{ c }}\n\nb: {{ y }}\n"
    hidden = masked(text)
    assert len(hidden) == len(text) and unmasked(hidden) == text
    assert hidden.count("{{") == 2 and hidden.startswith("a: {{ x }}") and hidden.endswith("b: {{ y }}\n")
    assert masked("triggers: {{ a\nb: {{ x }}\n").count("{{") == 2


def test_templates_that_never_end_take_no_time():
    for piece in ("{{", "{%", "{{ {%", "{%%}{{"):
        text = "triggers:\n  webhook: '" + piece * (200_000 // len(piece))
        within(0.5, partial(masked, text))
