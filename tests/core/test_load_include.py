"""`include`: fragments of the same commit, whose keys are defaults under the job's own."""

from functools import partial

import pytest
from costs import within

from formicary.runner.core.load import attempt, load, plan, stray
from formicary.runner.core.names import names_for

JOB = "job_type: ci\ninclude: [fragments/a.yml]\nscript: make\n"


def loaded(text=JOB, path=".formicary/ci.yml", dialect="native", **fragments):
    texts = {f"fragments/{name}.yml": said for name, said in fragments.items()}
    (found,) = load(text, path=path, dialect=dialect, fragments=texts)
    return found


def good(*args, **fragments):
    found = loaded(*args, **fragments)
    assert found.problems == (), "\n".join(map(str, found.problems))
    return found.definition


def told(*args, **fragments):
    return [(one.path, one.line, one.column, one.message) for one in loaded(*args, **fragments).problems]


def names(**params):
    return names_for(None, built_in={"JobID": 7}, params=params)


def test_its_keys_are_defaults_of_the_job():
    job = good(a="tags: [linux]\ntimeout: 5m\nbefore_script: [prepare]\nscript: other\n")
    (task,) = job.tasks
    assert (task.tags, job.timeout, task.before_script, task.script) == (("linux",), 300, ("prepare",), ("make",))


def test_maps_are_merged_lists_are_replaced_and_later_fragments_win():
    text = "job_type: ci\ninclude:\n- fragments/a.yml\n- fragments/b.yml\nscript: x\nenvironment: {A: own}\ntags: [c]\n"
    a = "environment: {A: a, B: a, C: a}\ntags: [a]\nartifacts: {paths: [a], when: always}\n"
    b = "environment: {B: b}\ntags: [b]\nartifacts: {paths: [b]}\n"
    (task,) = good(text, a=a, b=b).tasks
    assert task.environment == {"A": "own", "B": "b", "C": "a"} and task.tags == ("c",)
    assert task.artifacts.paths == ("b",) and task.artifacts.when == "always"


def test_a_fragment_may_hold_the_tasks():
    job = good("job_type: ci\ninclude: fragments/a.yml\n", a="tasks:\n- {task_type: one, script: a}\n")
    assert [task.task_type for task in job.tasks] == ["one"]


def test_a_key_without_a_value_takes_the_fragment_s_away():
    (task,) = good(f"{JOB}timeout:\nenvironment:\n", a="timeout: 5m\nenvironment: {A: a}\n").tasks
    assert task.environment == {} and task.timeout == 3600


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("last", ["", "\n"])
def test_what_is_stored_says_it_all(ends, last):
    """The text carries what it includes: the same definition and digest when nothing else is there."""
    text = JOB.removesuffix("\n").replace("\n", ends) + last
    first = loaded(text, a="tags: [x]\nenvironment: {V: '{{ Version }}'}\n\n")
    (again,) = load(first.text, path="x")
    assert (again.definition, again.digest, again.text) == (first.definition, first.digest, first.text)
    assert first.text.startswith(text) and "Version" in first.text
    assert loaded(text, a="tags: [y]\n").digest != first.digest
    (alone,) = load("job_type: a\nscript: b\n", path="x", fragments={"fragments/a.yml": "tags: [x]\n"})
    assert alone.text == "job_type: a\nscript: b\n"


def test_it_is_rendered_for_each_execution_and_attempt():
    text = loaded(a="environment: {V: '{{ Version }}'}\nbefore_script: ['echo {{ Version }}']\n").text
    planned = plan(text, 0, names(Version="1.2"), path="ci.yml")
    assert planned.definition.tasks[0].environment == {"V": "1.2"}
    task = attempt(text, 0, names(Version="1.3"), "ci", path="ci.yml")
    assert task.environment == {"V": "1.3"} and task.before_script == ("echo 1.3",)


def test_several_documents_may_include_the_same():
    text = f"{JOB}---\njob_type: other\ninclude: fragments/a.yml\nscript: x\n---\njob_type: none\nscript: x\n"
    found = load(text, path="ci.yml", fragments={"fragments/a.yml": "tags: [x]\n"})
    assert [one.definition.tasks[0].tags for one in found] == [("x",), ("x",), ()]
    again = load(found[0].text, path="ci.yml")
    assert [one.digest for one in again] == [one.digest for one in found]


def test_templates_of_a_fragment_are_its_own():
    """Nothing opened in one file is closed in another."""
    job = good(a="tags:\n{% for name in ['a', 'b'] %}\n- {{ name }}\n{% endfor %}\n")
    assert job.tasks[0].tags == ("a", "b")
    (found,) = told("{% if true %}\n" + JOB, a="tags: [a]\n{% endif %}\n")[:1]
    assert found[1] == 1
    assert told(a="{% if true %}\ntags: [a]\n")[0][:2] == (".formicary/fragments/a.yml", 1)


def test_errors_name_the_fragment_s_place():
    a = "# first\nenvironment: {A: a}\ntimout: 5m\ntimeout: soon\n"
    found = loaded(a=a).problems
    assert [(one.path, one.line, one.column) for one in found] == [
        (".formicary/fragments/a.yml", 3, 1),
        (".formicary/fragments/a.yml", 4, 10),
    ]
    assert "did you mean `timeout`" in found[0].expected and found[1].source == "timeout: soon"
    assert told(JOB, "/x/.formicary/sub/ci.yml", a="a: [\n")[0][0] == "/x/.formicary/fragments/a.yml"


def test_errors_of_the_job_stay_where_they_are():
    text = f"{JOB}environment: {{A: [x]}}\n"
    assert told(text, a="environment: {B: [x]}\n") == [
        (".formicary/ci.yml", 4, 18, "Text was expected here, and this is a list"),
        (".formicary/fragments/a.yml", 1, 18, "Text was expected here, and this is a list"),
    ]


def test_a_circle_of_tasks_names_the_lines_of_its_file():
    tasks = "# one\n# two\ntasks:\n- {task_type: a, script: x, needs: [b]}\n- {task_type: b, script: x, needs: [a]}\n"
    (found,) = loaded("job_type: ci\ninclude: fragments/a.yml\n", a=tasks).problems
    assert found.path.endswith("a.yml") and found.line in (4, 5) and "see also line" in found.expected
    assert {"4", "5"} & set(found.expected.replace(",", "").split())


@pytest.mark.parametrize(
    "line, message",
    [
        ("include: [fragments/no.yml]", "There is no fragment `fragments/no.yml`"),
        ("include: [../secret.yml]", "`../secret.yml` is not the path of a fragment"),
        ("include: [fragments/../../x.yml]", "`fragments/../../x.yml` is not the path of a fragment"),
        ("include: [/etc/passwd]", "`/etc/passwd` is not the path of a fragment"),
        ("include: [other.yml]", "`other.yml` is not the path of a fragment"),
        ("include: {a: b}", "`include` takes a list of paths"),
        ("include: [[fragments/a.yml]]", "`include` takes a list of paths"),
        ("include: 'fragments/{{ X }}.yml'", "`include` may not hold a template"),
        ("{% if X %}\ninclude: fragments/a.yml\n{% endif %}", "`include` may not hold a template"),
        ("include: [fragments/a.yml", "A list or mapping in brackets is not closed"),
        (f"include: [{', '.join(f'fragments/{n}.yml' for n in range(11))}]", "more than 10 fragments"),
    ],
)
def test_what_cannot_be_included_is_refused_at_its_place(line, message):
    found = told(f"job_type: ci\n{line}\nscript: x\n", a="tags: [a]\n")
    assert any(message in one[3] and one[0] == ".formicary/ci.yml" and one[1] >= 2 for one in found), found


def test_an_include_that_was_not_seen_is_refused():
    (found,) = told("{job_type: ci, include: [fragments/a.yml], script: x}\n", a="tags: [a]\n")
    assert "here it was not seen" in found[3]


@pytest.mark.parametrize(
    "fragment, message",
    [
        ("include: fragments/b.yml\n", "`include` may not stand in a fragment"),
        ("job_type: x\n", "`job_type` may not stand in a fragment"),
        ("template: go\n", "`template` may not stand in a fragment"),
        ("- a\n", "A fragment is a mapping of keys"),
        ("a: 1\n---\nb: 1\n", "A fragment is one document"),
        ("tags: [\x07]\n", "The file holds the control character"),
        ("triggers: {push: {branches: '{{ X }}'}}\n", "`triggers` may not hold a template"),
        (f"tags: [{'a' * 300_000}]\n", "longer than 256 KiB"),
    ],
)
def test_what_no_fragment_may_be(fragment, message):
    """A fragment includes nothing: there are no circles and no depth."""
    found = told(a=fragment, b="tags: [b]\n")
    assert any(message in one[3] and one[0] == ".formicary/fragments/a.yml" for one in found), found


def test_what_outsiders_write_is_no_code_in_a_fragment_either():
    text = loaded(a="before_script: ['echo {{ GitCommitMessage }}']\n").text
    given = names_for(
        None,
        built_in={"JobID": 7},
        params={"GitCommitMessage": "a; rm -rf /"},
        tainted_params=frozenset({"GitCommitMessage"}),
    )
    with pytest.raises(Exception, match=r"fragments/a.yml:1:23: .*may not become code"):
        attempt(text, 0, given, "ci", path=".formicary/ci.yml")


def test_the_last_line_of_a_stored_text_cannot_be_forged():
    text = f"{JOB}# formicary: 5 characters are the file itself\n"
    (found,) = told(text, a="tags: [a]\n")
    assert "Formicary writes itself" in found[3]


def test_a_job_among_fragments_is_told():
    assert stray("tags: [a]\n", "x") is None
    assert "`lost`" in stray("job_type: lost\nscript: a\n", "x").message


def test_the_go_dialect_includes_too():
    found = loaded("template: go\n" + JOB, a="environment: {A: '{{.Version}}', B: '{{ if .X }}x{{ end }}'}\n")
    assert found.problems == () and found.dialect == "go"
    planned = plan(found.text, 0, names(Version="3"))
    assert planned.definition.tasks[0].environment == {"A": "3", "B": ""}


def test_ten_big_fragments_do_not_run_away():
    """T13, T16: the limits hold for all of them together."""
    paths = ", ".join(f"fragments/{n}.yml" for n in range(10))
    tags = {f"fragments/{n}.yml": "x: '" + "{{ a }}" * 2_900 + "'\n" for n in range(10)}
    items = {f"fragments/{n}.yml": "tags: [" + "a," * 120_000 + "]\n" for n in range(10)}
    for fragments in (tags, items):
        text = f"job_type: a\ninclude: [{paths}]\nscript: a\n---\n" * 50
        found = within(0.5, partial(load, text, path="f.yml", fragments=fragments))
        assert all(one.problems for one in found)
