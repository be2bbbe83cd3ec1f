"""What a definition says about an HTTP request: what is read, what is told, what is tainted."""

import pytest
from loading import bad, good, names, refused

from formicary.runner.core.definition import Checkout
from formicary.runner.core.load import attempt
from formicary.runner.core.names import secrets_of

SHORT = "job_type: a\nmethod: {}\n"


def task_of(text):
    return good(text).tasks[0]


def test_a_request_is_read():
    task = task_of(
        "job_type: a\ntasks:\n- task_type: b\n  method: HTTP_POST_JSON\n  url: https://a.example/x\n"
        "  headers: {X-A: 1.10}\n  query: {q: true}\n  body: {n: 1, t: 1.10, deep: [a, null]}\n"
    )
    assert (task.url, task.headers, task.query) == ("https://a.example/x", {"X-A": "1.10"}, {"q": "true"})
    assert task.body == {"n": 1, "t": "1.10", "deep": ["a", None]} and task.checkout == Checkout(enabled=False)


@pytest.mark.parametrize("script", ["script: https://a.example/x", "script: ['https://a.example/x']"])
def test_the_first_script_item_is_the_url_where_there_is_none(script):
    """language.md: without `url` the first script item is the URL."""
    task = task_of(SHORT.format("HTTP_GET") + script + "\n")
    assert (task.url, task.script) == ("https://a.example/x", ())


def test_a_short_job_of_commands_keeps_its_own_url():
    job = good("job_type: a\nurl: see the wiki\nscript: b\n")
    assert job.url == "see the wiki" and job.tasks[0].url == ""


def test_what_a_job_gives_all_its_tasks_is_not_for_this_one():
    job = "job_type: a\nbefore_script: x\nafter_script: y\nworking_dir: z\ncache: {paths: [c]}\n"
    task = task_of(job + "tasks: [{task_type: b, method: HTTP_GET, url: 'http://a.example/'}]\n")
    assert (task.before_script, task.after_script, task.working_dir, task.cache) == ((), (), "", ())


@pytest.mark.parametrize(
    "lines, words",
    [
        ("method: HTTP_GET", "which URL it calls"),
        ("method: HTTP_GET\nscript: [https://a.example/, echo]", "one script item"),
        ("method: HTTP_GET\nurl: https://a.example/\nscript: echo", "`script` means nothing here"),
        ("method: HTTP_GET\nurl: https://a.example/\nafter_script: echo", "`after_script` means nothing here"),
        ("method: HTTP_GET\nurl: https://a.example/\nbefore_script: echo", "runs no script"),
        ("method: HTTP_GET\nurl: https://a.example/\nworking_dir: x", "`working_dir` means nothing"),
        ("method: HTTP_GET\nurl: https://a.example/\nbody: x", "HTTP_GET sends no body"),
        ("method: HTTP_GET\nurl: a.example", "not an `http://`"),
        ("method: HTTP_GET\nurl: 'https://u:p@a.example/'", "user or password"),
        ("method: HTTP_GET\nurl: https://a.example/\nheaders: {Host: b}", "set by who sends"),
        ("method: HTTP_POST_FORM\nurl: https://a.example/\nbody: [a]", "mapping of names"),
        ("method: HTTP_POST_FORM\nurl: https://a.example/\nbody: {a: {b: c}}", "use HTTP_POST_JSON"),
        ("script: echo\nbody: x", "`body` is for tasks of the methods HTTP_GET"),
    ],
)
def test_what_makes_no_sense_is_told_with_its_remedy(lines, words):
    (problem,) = bad(f"job_type: a\n{lines}\n")
    assert words in f"{problem.message} {problem.expected}" and problem.expected


def test_a_url_of_a_command_s_task_is_told():
    text = "job_type: a\ntasks: [{task_type: b, script: c, url: 'https://a.example/'}]\n"
    (problem,) = bad(text)
    assert "`url` is for tasks of the methods" in problem.message


def test_the_go_original_s_way_sends_its_own_variables():
    text = (
        "job_type: a\ntemplate: go\ntasks:\n- task_type: b\n  method: HTTP_POST_JSON\n"
        "  script: ['https://a.example/{{.Id}}']\n  variables: {x: 1, y: z}\nparams: {Id: {default: 7}}\n"
    )
    task = task_of(text)
    assert (task.url, task.body) == ("https://a.example/7", {"x": "1", "y": "z"})


def rendered(text, value):
    """An attempt with the tainted parameter X."""
    return attempt(text, 0, names({"X": value}, ["X"]), "a")


URL = SHORT.format("HTTP_GET") + "url: '{}'\n"


@pytest.mark.parametrize("url", ["https://{{ X }}.example/", "https://a.example{{ X }}", "{{ X }}"])
def test_a_tainted_host_is_refused(url):
    """T6, T14: the host of a URL is code."""
    (problem,) = refused(lambda: rendered(URL.format(url), "@evil.example/"))
    assert "may not become code" in problem.message and "`query`" in problem.expected


def test_what_is_tainted_may_stand_behind_the_host_in_query_and_body():
    text = SHORT.format("HTTP_POST_JSON") + (
        "url: 'https://a.example/{{ X }}'\nquery: {q: '{{ X }}'}\nheaders: {X-A: '{{ X }}'}\nbody: {b: '{{ X }}'}\n"
    )
    task = rendered(text, 'a"b"$c')
    assert task.url == 'https://a.example/a"b"$c' and task.body == {"b": 'a"b"$c'} and task.query["q"] == 'a"b"$c'


def test_secrets_stay_tokens():
    """T8: they are filled at the ant."""
    text = SHORT.format("HTTP_POST_FORM") + (
        "url: 'https://a.example/{{ S }}'\nheaders: {Authorization: 'Bearer {{ S }}'}\nbody: {k: ['{{ S }}']}\n"
    )
    task = attempt(text, 0, names(secrets={"S": "hidden-value"}), "a")
    assert "hidden-value" not in repr(task) and secrets_of(task) == {"S"}
