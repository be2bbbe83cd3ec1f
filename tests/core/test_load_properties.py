"""Whatever a value holds, it never changes the structure, and comes back as it was (T6)."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formicary.runner.core.errors import DefinitionError
from formicary.runner.core.language.limits import RESERVED_FIRST, SECRET_OPEN, TOKEN_CLOSE, TOKEN_OPEN
from formicary.runner.core.load import attempt, load, plan
from formicary.runner.core.names import environment, fill, names_for

STRUCTURE = [
    "\n",
    "'",
    '"',
    ": ",
    "- ",
    "#",
    "\n- task_type: evil\n",
    "|",
    "&a",
    "*a",
    "<<: *b",
    "!!str",
    "---\n",
    "...\n",
]
TEMPLATES = ["{{", "}}", "{% if %}", TOKEN_OPEN + "0" + TOKEN_CLOSE, SECRET_OPEN, RESERVED_FIRST]
WORDS = ["null", "true", "0x1F", "1e3", "3.10", "~", "[", "{", "$(rm -rf /)", "`", "\\", "-"]
CHARACTERS = ["\0", "😀", "\t", "\r", "\u2028", "\x85", "\ufeff"]
NASTY = st.sampled_from([*STRUCTURE, *TEMPLATES, *WORDS, *CHARACTERS])
TEXTS = st.one_of(st.text(max_size=40), st.lists(st.one_of(NASTY, st.text(max_size=5)), max_size=6).map("".join))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**60), 2**60), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)

DEFINITION = """job_type: ci
job_variables: {J: "{{ P }}"}
tasks:
{% for x in [P, "a"] %}
- task_type: t{{ loop.index }}
  script: [run, {{ Safe }}]
  variables:
    "V": "{{ P }}"
    W: {{ P }}
    X: "<{{ J }}>"
    "{{ P }}_": 1
  environment:
    E: {{ P }}
  description: {{ P }}
{% endfor %}
- task_type: last
  script: echo {{ P }}
"""
GO_DEFINITION = """job_type: ci
template: go
job_variables: {J: "{{.P}}"}
tasks:
{{range $i, $x := Iterate 2}}
- task_type: t{{Add $i 1}}
  script: [run, {{$.Safe}}]
  variables:
    "V": "{{$.P}}"
    W: {{with $p := $.P}}{{$p}}{{else}}{{$.P}}{{end}}
    X: "<{{$.J}}>"
    "{{printf `%v` $.P}}_": 1
  environment:
    E: {{$.P}}
  description: {{Unescape $.P}}
{{end}}
- task_type: last
  script: echo {{.P}}
"""
DIALECTS = pytest.mark.parametrize("definition", [DEFINITION, GO_DEFINITION], ids=["native", "go"])


def given_names(value, tainted=frozenset(), task=None, job=None):
    return names_for(job, built_in={}, params={"P": value, "Safe": "s"}, tainted_params=tainted, task=task)


@DIALECTS
@given(TEXTS)
def test_a_text_never_changes_the_structure_and_comes_back(definition, value):
    names = given_names(value)
    planned = plan(definition, 0, names).definition
    assert [task.task_type for task in planned.tasks] == ["t1", "t2", "last"]
    own = given_names(value, task=planned.tasks[0], job=planned)
    task = attempt(definition, 0, own, "t1")
    found = environment(own, task)
    seen = {name: fill(text, {}) for name, text in {**found.variables, **found.files}.items()}
    assert task.script == ("run", "s")
    assert seen["P"] == seen["V"] == seen["W"] == seen["E"] == value
    assert seen["X"] == f"<{value}>"
    assert fill(task.description, {}) == value
    assert len(task.variables) == 4


@DIALECTS
@given(VALUES)
def test_a_value_of_any_kind_keeps_the_structure(definition, value):
    planned = plan(definition, 0, given_names(value)).definition
    assert [task.task_type for task in planned.tasks] == ["t1", "t2", "last"]
    if isinstance(value, (list, dict)):
        assert type(planned.tasks[0].variables["W"]) is type(value)


@DIALECTS
@given(TEXTS)
def test_a_tainted_value_never_reaches_code(definition, value):
    names = given_names(value, frozenset({"P"}))
    plain = value == "" or (
        not value.startswith("-") and all(char.isascii() and (char.isalnum() or char in "._/@:+=,%-") for char in value)
    )
    planned = plan(definition, 0, names)
    assert planned.tainted == {"J"}
    assert planned.definition.tasks[2].script == (f"echo {value if plain else ''}",)
    try:
        task = attempt(definition, 0, names, "last")
    except DefinitionError as error:
        assert not plain and '"$P"' in str(error)
    else:
        assert plain and task.script == (f"echo {value}",)


OUTWARD = """job_type: ci
tasks:
- task_type: t
  script: x
  webhook:
    url: "https://{{ P }}h.example/a{{ P }}"
    query: {q: "{{ P }}"}
  notify: {email: {recipients: ["{{ P }}a@b.example"]}}
- task_type: q
  script: x
  webhook: {url: "https://h.example/", query: {q: "{{ P }}", r: {{ P }}}}
"""
HOSTS = st.lists(st.sampled_from([*"/@:?#%[]-. ", "\\", "x", "bad.example", "https://"]), max_size=5).map("".join)


@given(st.one_of(TEXTS, HOSTS))
def test_an_outsider_s_value_changes_neither_host_nor_recipient(value):
    """T6: and where it is only text it comes back."""
    names = given_names(value, frozenset({"P"}))
    assert len(plan(OUTWARD, 0, names).definition.tasks) == 2
    assert fill(attempt(OUTWARD, 0, names, "q").webhook.query["q"], {}) == value
    try:
        task = attempt(OUTWARD, 0, names, "t")
    except DefinitionError as error:
        assert error.problems
        return
    parts = urlsplit(task.webhook.url)
    assert parts.hostname.endswith("h.example") and "@" not in parts.netloc and parts.path.startswith("/a")
    assert task.notify[0].recipients == (f"{value}a@b.example",) and "@" not in value


PIECES = [*"{}%[]:,-#&*!|>'\"\n ab1~?<", "{{ a }}", "{% if a %}", "{% endif %}"]
GO_PIECES = [
    *"{}[]:,-#|>'\"\n ab1.$`(",
    "{{.a}}",
    "{{if .a}}",
    "{{end}}",
    "{{- ",
    " -}}",
    "{{/*",
    "*/}}",
    "printf",
    ":=",
]


@settings(max_examples=200)
@pytest.mark.parametrize(("dialect", "pieces"), [("native", PIECES), ("go", GO_PIECES)])
@given(st.data())
def test_no_text_makes_load_raise(dialect, pieces, data):
    text = "".join(data.draw(st.lists(st.sampled_from(pieces), max_size=80)))
    for each in load(f"job_type: a\n{text}", path="f", dialect=dialect):
        assert (each.definition is None) == bool(each.problems)


@pytest.mark.parametrize("dialect", ["native", "go"])
@given(st.text(max_size=200))
def test_no_unicode_makes_load_raise(dialect, text):
    assert load(text, path="f", dialect=dialect)


OUTPUTS = """job_type: ci
tasks:
- task_type: a
  script: [x]
- task_type: b
  needs: [a]
  script: [x]
  variables: {V: "<{{ O }}>", W: "{{ a.O }}"}
  environment: {E: "{{ O }}"}
"""
GO_OUTPUTS = OUTPUTS.replace("{{ ", "{{.").replace("tasks:", "template: go\ntasks:", 1)


@pytest.mark.parametrize("text", [OUTPUTS, GO_OUTPUTS], ids=["native", "go"])
@given(TEXTS)
def test_an_output_comes_back_as_it_was(text, value):
    """By its name, by its task's, in templates and in the environment."""
    job = plan(text, 0, names_for(None, built_in={}, params={})).definition
    given_ = {"built_in": {}, "params": {}, "outputs": {"a": {"O": value}}, "outputs_tainted": True}
    planned = attempt(text, 0, names_for(job, **given_, task=job.tasks[1]), "b")
    found = environment(names_for(job, **given_, task=planned), planned)
    seen = {name: fill(said, {}) for name, said in {**found.variables, **found.files}.items()}
    assert seen["O"] == seen["E"] == value and seen["W"] == value and seen["V"] == f"<{value}>"
