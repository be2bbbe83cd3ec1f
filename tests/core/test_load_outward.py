"""webhook, notify, status, retention and triggers.pull_request: what they take, and what is told of the rest."""

import pytest
from loading import SHORT, bad, good, names, one, refused

from formicary.runner.core.definition import Hook, Notify, PullRequestFilter, Retention, Status
from formicary.runner.core.load import attempt, plan
from formicary.runner.core.names import fill, secrets_in

TASKS = "job_type: ci\ntasks:\n- task_type: a\n  script: x\n"


def test_all_of_it_on_a_job():
    job = good(
        """job_type: ci
script: x
triggers: {pull_request: {branches: [main, "v*"], types: [opened, labeled, opened], paths: src/**, paths_ignore: [d]}}
webhook: {url: "https://h.example:8443/a?b=c", headers: {X-Page: 3.10}, query: {n: 1, t: true}}
notify:
  email: {recipients: [ann@team.example, ö@ü.example], when: onChange}
  slack: {recipients: ["#ci", "@ann", "slack://a/b/c/#ci"]}
  urls: {recipients: tgram://1/2, when: never}
status: {context: ci/x, per_task: true, enabled: false}
retention: {completed: 24h, failed: 90, cancelled: 0}
"""
    )
    assert job.triggers.pull_request == PullRequestFilter(
        branches=("main", "v*"), types=("opened", "labeled"), paths=("src/**",), paths_ignore=("d",)
    )
    assert job.webhook == Hook(
        url="https://h.example:8443/a?b=c", headers={"X-Page": "3.10"}, query={"n": "1", "t": "true"}
    )
    assert job.notify == (
        Notify(channel="email", recipients=("ann@team.example", "ö@ü.example"), when="onChange"),
        Notify(channel="slack", recipients=("#ci", "@ann", "slack://a/b/c/#ci"), when="always"),
        Notify(channel="urls", recipients=("tgram://1/2",), when="never"),
    )
    assert job.status == Status(context="ci/x", per_task=True, enabled=False)
    assert job.retention == Retention(completed=86400, failed=90, cancelled=0)


def test_in_a_short_job_who_is_told_is_told_once():
    job = good(f"{SHORT}webhook: {{url: https://h.example}}\nnotify: {{email: {{recipients: a@b}}}}\nsecrets: [K]\n")
    assert job.webhook and job.notify and job.tasks[0].secrets == ("K",)
    assert job.tasks[0].webhook is None and job.tasks[0].notify == ()


def test_a_task_has_its_own_and_takes_none_from_its_job():
    text = f"webhook: {{url: https://job.example}}\n{TASKS}  webhook: {{url: https://task.example}}\n"
    text += "  notify: {slack: {recipients: '#a'}}\n  secrets: []\n- {task_type: b, script: x}\n"
    job = good(text)
    first, second = job.tasks
    assert (job.webhook.url, first.webhook.url) == ("https://job.example", "https://task.example")
    assert first.notify[0].recipients == ("#a",) and first.secrets == ()
    assert (second.webhook, second.notify, second.secrets) == (None, (), None)


@pytest.mark.parametrize("key", ["webhook", "notify", "status", "retention", "triggers"])
def test_a_key_without_a_value_is_not_there(key):
    assert good(f"{SHORT}{key}:\n") == good(SHORT)
    assert good(f"{TASKS}  secrets:\n  webhook:\n  notify: ~\n") == good(TASKS)


def test_a_trigger_without_a_filter_wants_what_is_usual():
    for text in ("{pull_request: {}}", "{pull_request: }", "[{pull_request: ~}]", "{pull_request: {types: }}"):
        assert good(f"{SHORT}triggers: {text}\n").triggers.pull_request == PullRequestFilter()
    assert PullRequestFilter().types == ("opened", "synchronize", "reopened")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("triggers: {pull_requests: {}}", "did you mean `pull_request`?"),
        ("triggers: {pull_request: {types: [merged]}}", "ready_for_review"),
        ("triggers: {pull_request: {types: [synchronise]}}", "did you mean `synchronize`?"),
        ("triggers: {pull_request: {types: []}}", "No type"),
        ("triggers: {pull_request: {branch: main}}", "did you mean `branches`?"),
        ("triggers: {pull_request: main}", "mapping"),
        ("triggers: {pull_request: {branches: ['{{ B }}']}}", "template"),
        ("webhook: https://h.example", "mapping"),
        ("webhook: {}", "needs `url`"),
        ("webhook: {uri: https://h.example}", "did you mean `url`?"),
        ("webhook: {url: }", "needs a URL"),
        ("webhook: {url: ''}", "needs a URL"),
        ("webhook: {url: [a]}", "URL"),
        ("webhook: {url: h.example/x}", "https://"),
        ("webhook: {url: 'ftp://h.example/x'}", "http://"),
        ("webhook: {url: 'file:///etc/passwd'}", "http://"),
        ("webhook: {url: 'https:///x'}", "host"),
        ("webhook: {url: 'https://:80/x'}", "host"),
        ("webhook: {url: 'https://a:b:c/x'}", "host"),
        ("webhook: {url: 'https://h.example/a b'}", "spaces"),
        ("webhook: {url: 'https://good.example\\@bad.example/'}", "backslash"),
        ("webhook: {url: 'https://me:pw@h.example/'}", "Authorization"),
        ("webhook: {url: https://h.example, headers: [a]}", "mapping"),
        ("webhook: {url: https://h.example, headers: {'a b': c}}", "name of a header"),
        ("webhook: {url: https://h.example, headers: {Host: c}}", "set by who sends"),
        ("webhook: {url: https://h.example, headers: {Transfer-Encoding: c}}", "set by who sends"),
        ("webhook: {url: https://h.example, headers: {X-A: b, x-a: c}}", "twice"),
        ('webhook: {url: https://h.example, headers: {X-A: "b\\r\\nHost: c"}}', "one line"),
        ("webhook: {url: https://h.example, query: {a: [b]}}", "text"),
        ("notify: a@b", "mapping"),
        ("notify: {mail: {recipients: a@b}}", "did you mean `email`?"),
        ("notify: {sms: {recipients: 1}}", "email, slack, urls"),
        ("notify: {email: [a@b]}", "recipients: […]"),
        ("notify: {email: {}}", "needs `recipients`"),
        ("notify: {email: {to: a@b}}", "its keys are"),
        ("notify: {email: {recipients: }}", "nobody"),
        ("notify: {email: {recipients: []}}", "nobody"),
        ("notify: {email: {recipients: [a@b], when: onError}}", "onFailure"),
        ("notify: {email: {recipients: [ann]}}", "ann@team.example"),
        ("notify: {email: {recipients: ['a@b, c@d']}}", "ann@team.example"),
        ("notify: {email: {recipients: ['-t@b']}}", "ann@team.example"),
        ('notify: {email: {recipients: ["a@b\\nBcc: c@d"]}}', "ann@team.example"),
        (f"notify: {{email: {{recipients: [{'a' * 250}@b.example]}}}}", "ann@team.example"),
        ("notify: {slack: {recipients: [ci]}}", '"#channel"'),
        ("notify: {slack: {recipients: ['https://hooks.slack.com/x']}}", "slack://"),
        ("notify: {slack: {recipients: ['#']}}", "slack://"),
        ("notify: {urls: {recipients: [ann]}}", "scheme://"),
        ("notify: {urls: {recipients: ['slack://']}}", "scheme://"),
        ("status: ci", "mapping"),
        ("status: {contxt: ci}", "did you mean `context`?"),
        ("status: {enabled: no}", "true"),
        (f"status: {{context: {'x' * 256}}}", "255"),
        ('status: {context: "a\\nb"}', "one line"),
        ("retention: 5d", "mapping"),
        ("retention: {completed: 5d}", "duration"),
        ("retention: {canceled: 5h}", "did you mean `cancelled`?"),
        ("secrets: {a: b}", "mapping"),
        (f"secrets: [{'x' * 101}]", "101 characters"),
    ],
)
def test_a_wrong_value_is_one_sentence_at_its_place(line, words):
    (problem,) = bad(f"{SHORT}{line}\n")
    assert words in f"{problem.message} {problem.expected}"
    assert problem.line == 3 and problem.column > line.index(":") - 8 and problem.expected


def test_a_channel_without_quotes_says_what_is_missing():
    """`#` begins a comment in YAML."""
    problem = bad(f"{SHORT}notify:\n  slack:\n    recipients:\n      - #ci\n")[0]
    assert '`"#ci"`' in problem.expected and "nobody" in problem.message


def test_all_that_is_wrong_is_told_at_once():
    text = f"{SHORT}webhook: {{url: x, headers: {{Host: a}}}}\nnotify:\n  email: {{recipients: [a, b@c, d]}}\n"
    found = [(problem.line, problem.column) for problem in bad(f"{text}status: {{enabled: 7}}\n")]
    assert found == [(3, 16), (3, 29), (5, 24), (5, 32), (6, 19)]


# --- templates


def test_what_is_not_known_at_load_is_judged_later():
    text = f"{SHORT}webhook: {{url: 'https://{{{{ H }}}}/x', headers: {{A: 'b {{{{ K }}}}'}}}}\n"
    text += "notify: {email: {recipients: [{{ M }}, a@b]}, slack: {recipients: '{{ S }}'}}\n"
    text += "status: {context: 'ci/{{ C }}'}\n"
    job = good(text)
    assert job.webhook is None and job.status.context == ""
    assert [channel.recipients for channel in job.notify] == [("a@b",)]
    job = plan(text, 0, names({"H": "h.example", "K": 1, "M": ["m@n", "o@p"], "S": "", "C": "c"})).definition
    assert job.webhook == Hook(url="https://h.example/x", headers={"A": "b 1"})
    assert [channel.recipients for channel in job.notify] == [("m@n", "o@p", "a@b")]
    assert job.status.context == "ci/c"
    found = refused(lambda: plan(text, 0, names({"H": "a b", "M": "nobody", "K": "1\n2", "S": "x"})))
    assert [problem.line for problem in found] == [3, 3, 4, 4, 5]
    assert "There is no `C` here" in found[-1].message


def test_a_task_s_own_may_name_outputs():
    text = f"{TASKS}  webhook: {{url: 'https://h.example/{{{{ Path }}}}'}}\n"
    text += "  notify: {email: {recipients: ['{{ Who }}', a@b]}}\n"
    planned = plan(text, 0, names()).definition.tasks[0]
    assert planned.webhook is None and planned.notify[0].recipients == ("a@b",)
    task = attempt(text, 0, names({"Path": "p/q", "Who": "c@d"}), "a")
    assert task.webhook == Hook(url="https://h.example/p/q") and task.notify[0].recipients == ("c@d", "a@b")
    assert plan(text, 0, names({"Path": "p", "Who": "c@d"})).definition.tasks[0].webhook.url == "https://h.example/p"
    assert [problem.line for problem in refused(lambda: attempt(text, 0, names(), "a"))] == [5, 6]


@pytest.mark.parametrize(
    ("url", "value", "taken"),
    [
        ("https://{{ B }}.example/x", "release-1.2", True),
        ("https://{{ B }}.example/x", "bad.example/", False),
        ("https://{{ B }}.example/x", "me@bad", False),
        ("https://h.example:{{ B }}/x", "80@bad", False),
        ("https://{{ B }}.example/x", "-a", False),
        ("https://h.example{{ B }}", "/x", False),
        ("{{ B }}", "https://bad.example/", False),
        ("{{ B }}://h.example/", "https", True),
        ("https://h.example/{{ B }}", "feature/a", True),
        ("https://h.example/{{ B }}", "@bad.example/?x=//y", True),
        ("https://h.example?{{ B }}", "a=b&c", True),
        ("https://h.example/{{ B }}", "a b", False),
        ("{{ Base }}/{{ B }}", "@bad.example/x", True),
    ],
)
def test_outsiders_do_not_choose_the_host(url, value, taken):
    """T6: behind the host a tainted value is text; within it, a plain label."""
    given = names({"B": value, "Base": "https://h.example"}, ["B"])
    for text, call in (
        (f'{SHORT}webhook: {{url: "{url}"}}\n', lambda text: plan(text, 0, given).definition.webhook),
        (f'{TASKS}  webhook: {{url: "{url}"}}\n', lambda text: attempt(text, 0, given, "a").webhook),
    ):
        if taken:
            assert call(text).url == url.replace("{{ B }}", value).replace("{{ Base }}", "https://h.example")
        else:
            (problem,) = refused(lambda call=call, text=text: call(text))
            assert "query" in problem.expected
    assert plan(f'{TASKS}  webhook: {{url: "{url}"}}\n', 0, given).definition.tasks[0].task_type == "a"


def test_outsiders_do_not_choose_who_is_told():
    """T6: a recipient is code: only a plain word may be tainted."""
    text = f"{TASKS}  notify: {{urls: {{recipients: ['tgram://1/{{{{ B }}}}']}}}}\n"
    assert attempt(text, 0, names({"B": "x"}, ["B"]), "a").notify[0].recipients == ("tgram://1/x",)
    assert plan(text, 0, names({"B": "?to=x"}, ["B"])).definition.tasks[0].notify == ()
    (problem,) = refused(lambda: attempt(text, 0, names({"B": "?to=x"}, ["B"]), "a"))
    assert problem.expected == "name in the file who is to be told"
    (warning,) = one(f"{SHORT}notify: {{email: {{recipients: '{{{{ GitCommitAuthorEmail }}}}'}}}}\n").warnings
    assert "name in the file" in warning.expected


def test_outsiders_name_no_headers():
    for what in ("headers", "query"):
        text = f"{SHORT}webhook: {{url: https://h.example, {what}: {{'{{{{ B }}}}': 1, X: '{{{{ B }}}}'}}}}\n"
        (problem,) = refused(lambda text=text: plan(text, 0, names({"B": "A"}, ["B"])))
        assert what in problem.message
        assert getattr(plan(text, 0, names({"B": "A"})).definition.webhook, what) == {"A": "1", "X": "A"}


def test_a_commit_message_fits_into_query_and_its_first_line_into_a_header():
    text = f"{SHORT}webhook:\n  url: https://h.example\n  query: {{m: '{{{{ GitCommitMessage }}}}'}}\n"
    text += "  headers: {X-M: \"{{ GitCommitMessage | split('\\n') | first }}\"}\n"
    given = names({"GitCommitMessage": "a: b\n\n- task_type: evil\n"})
    found = plan(text, 0, given).definition.webhook
    assert found.query == {"m": "a: b\n\n- task_type: evil\n"} and found.headers == {"X-M": "a: b"}


def test_secrets_stay_tokens_until_they_are_sent():
    text = f"{SHORT}webhook: {{url: '{{{{ Url }}}}', headers: {{Authorization: 'Bearer {{{{ Key }}}}'}}}}\n"
    text += "notify: {urls: {recipients: ['{{ Team }}', 'tgram://{{ Bot }}/1']}}\n"
    assert good(text).notify == ()
    secrets = {"Url": "https://h.example/s", "Key": "hunter2", "Team": "tgram://a/b", "Bot": "b0t"}
    planned = plan(text, 0, names(configs=secrets)).definition
    stored = planned.model_dump_json()
    assert not [value for value in secrets.values() if value in stored]
    assert secrets_in(planned.webhook) == {"Url", "Key"} and secrets_in(*planned.notify) == {"Team", "Bot"}
    assert fill(planned.webhook.url, secrets) == "https://h.example/s"
    assert fill(planned.webhook.headers["Authorization"], secrets) == "Bearer hunter2"
    assert [fill(each, secrets) for each in planned.notify[0].recipients] == ["tgram://a/b", "tgram://b0t/1"]
    assert [problem.line for problem in refused(lambda: plan(text, 0, names()))] == [3, 3, 4, 4]


def test_a_tainted_secret_begins_no_host():
    text = f"{SHORT}webhook: {{url: 'https://{{{{ K }}}}/'}}\n"
    given = names({"K": "bad.example"}, ["K"], secret_params=frozenset({"K"}))
    assert refused(lambda: plan(text, 0, given))
    assert refused(lambda: plan(f"{SHORT}status: {{context: '{{{{ K }}}}'}}\n", 0, names(configs={"K": "x"})))
