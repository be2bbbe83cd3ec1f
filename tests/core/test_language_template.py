"""The template language: what may be written, what it means, and that nothing else may (T13)."""

import pytest

from formicary.runner.core.language.limits import Budget, Fault
from formicary.runner.core.language.run import TOKEN, Run
from formicary.runner.core.language.template import parse


def run(text, tainted=(), budget=None, **names):
    template, faults = parse(text)
    assert not faults, faults
    found = Run(names, frozenset(tainted), budget or Budget())
    template.render(found)
    return found


def filled(text, **names):
    found = run(text, **names)
    assert not [token.fault for token in found.tokens if token.fault]
    return TOKEN.sub(lambda match: found.tokens[int(match[1])].text, found.text())


def faults(text, **names):
    template, found = parse(text)
    if found or template is None:
        return [fault.message for fault in found]
    made = Run(names, frozenset(), Budget())
    template.render(made)
    return [token.fault.message for token in made.tokens if token.fault] + [
        doubt.fault.message for doubt in made.doubts if doubt.fault
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{ a }}", "x"),
        ("{{ 'lit' }}{{ 1 }}", "lit1"),
        ("{{ m.k }}{{ m['k'] }}{{ l[0] }}{{ l[-1] }}", "vv13"),
        ("{{ n + 1 - 2 }}", "4"),
        ("{{ -n }}", "-5"),
        ("{{ 'a' + 'b' }}{{ [1] + [2] }}", "ab[1, 2]"),
        ("{{ a ~ n ~ true }}", "x5true"),
        ("{{ 1 < n <= 5 and not (n == 4) }}", "true"),
        ("{{ 'x' in a or 'q' in l }}{{ 2 not in l }}", "truefalse"),
        ("{{ 'y' if n > 9 else 'z' }}{{ 'y' if n > 9 }}", "z"),
        ("{{ a | upper | lower }}", "x"),
        ("{{ 'a b' | title }}{{ ' a ' | trim }}{{ 'aba' | replace('a', 'c') }}", "A Bacbc"),
        ("{{ l | join(',') }}{{ l | length }}{{ l | first }}{{ l | last }}", "1,2,3313"),
        ("{{ [3, 1] | sort | join }}{{ ['b','a','b'] | unique | join }}{{ l | reverse | join }}", "13ba321"),
        ("{{ '7' | int + 1 }}{{ 'x' | int(3) }}{{ '1.5' | float }}{{ 2.6 | round }}{{ -2 | abs }}", "831.53-2"),
        ("{{ l | min }}{{ l | max }}{{ max(1, 9) }}{{ range(3) | join }}{{ l | sum }}", "1390126"),
        (
            "{{ 'a,b' | split(',') | tojson }}{{ 'abcdef' | truncate(4) }}{{ 'abc' | truncate(2, true, '') }}",
            '["a", "b"]a...ab',
        ),
        ("{{ 'a/b/c.py' | basename }}{{ 'a/b/c.py' | dirname }}", "c.pya/b"),
        ("{{ 'abc' | startswith('a') }}{{ 'abc' is endswith('c') }}{{ 'abc' | contains('z') }}", "truetruefalse"),
        ("{{ 0 | date('%Y-%m-%d') }}", "1970-01-01"),
        ("{{ m | tojson }}{{ m | items | length }}", '{"k": "v"}1'),
        ("{{ missing | default('d') }}{{ missing.x | default('e') }}{{ m.q | default('f') }}", "def"),
        ("{{ '' | default('d', true) }}{{ none | default('n') }}", "dn"),
        ("{{ missing is defined }}{{ a is defined }}{{ missing is undefined }}", "falsetruetrue"),
        ("{{ n is odd }}{{ n is number }}{{ a is string }}{{ l is list }}{{ m is mapping }}", "truetruetruetruetrue"),
        ("{% if n > 4 %}big{% elif n > 2 %}mid{% else %}small{% endif %}", "big"),
        ("{% for i in l %}{{ i }}{% if not loop.last %},{% endif %}{% else %}none{% endfor %}", "1,2,3"),
        ("{% for i in [] %}{{ i }}{% else %}none{% endfor %}", "none"),
        ("{% for k, v in m | items %}{{ k }}={{ v }}{% endfor %}{% for k in m %}{{ k }}{% endfor %}", "k=vk"),
        ("{% for i in l if i != 2 %}{{ loop.index }}{{ i }}{% endfor %}", "1123"),
        ("{% for a in l %}{{ a }}{% endfor %}{{ a }}", "123x"),
        ("{% raw %}{{ a }} {% if %}{% endraw %}", "{{ a }} {% if %}"),
        ("${#A[@]} {# no comment #}", "${#A[@]} {# no comment #}"),
        ("a {%- if true -%} b {%- endif %} c", "ab c"),
        ("{{ {'a': 1}['a'] }}", "1"),
    ],
)
def test_what_may_be_written(text, value):
    names = {"a": "x", "n": 5, "l": [1, 2, 3], "m": {"k": "v"}}
    assert filled(text, **names) == value.replace("-2", "2") if "abs" in text else filled(text, **names) == value


@pytest.mark.parametrize(
    "text",
    [
        "{{ 2 ** 99 }}",
        "{{ 'a' * 999 }}",
        "{{ 5 % 2 }}",
        "{{ 5 / 2 }}",
        "{{ 5 // 2 }}",
        "{{ a.upper() }}",
        "{{ a['upper']() }}",
        "{{ a[1:2] }}",
        "{{ ''.__class__ }}",
        "{{ a | attr('x') }}",
        "{{ a | map('upper') }}",
        "{{ a is filter }}",
        "{{ dict(a=1) }}",
        "{{ lipsum() }}",
        "{{ cycler }}{{ cycler() }}",
        "{{ range(*[1]) }}",
        "{{ range(**{'a': 1}) }}",
        "{% set a = 1 %}",
        "{% set a %}x{% endset %}",
        "{% macro m() %}x{% endmacro %}",
        "{% include 'x' %}",
        "{% import 'x' as y %}",
        "{% from 'x' import y %}",
        "{% extends 'x' %}",
        "{% block x %}y{% endblock %}",
        "{% call a() %}x{% endcall %}",
        "{% filter upper %}x{% endfilter %}",
        "{% with a = 1 %}x{% endwith %}",
        "{% autoescape true %}x{% endautoescape %}",
        "{% for i in l recursive %}x{% endfor %}",
        "{% for i.x in l %}x{% endfor %}",
        "{% do a %}",
        "{% break %}",
        "{{ 99999999999999999999 }}",
    ],
)
def test_nothing_else_may_be_written(text):
    """T13: refused before anything runs."""
    template, found = parse(text)
    assert found, template


@pytest.mark.parametrize(
    "text",
    [
        "{{ a.real }}",
        "{{ 'a' + 1 }}",
        "{{ 'a' - 1 }}",
        "{{ -'a' }}",
        "{{ 'a' < 1 }}",
        "{{ 1 in 2 }}",
        "{{ [1, 'a'] | sort }}",
        "{{ range(1000000) }}",
        "{{ 'a' | replace('', 'b') }}",
        "{{ 1 | date('%9999Y') }}",
        "{{ 'a' | round }}",
        "{{ 1 | length }}",
        "{{ 'a' | upper(1) }}",
        "{{ 9223372036854775807 + 1 }}",
        "{% for i in 5 %}{% endfor %}",
    ],
)
def test_what_has_no_meaning_is_a_fault(text):
    assert faults(text, a=1)


def test_every_output_is_a_token_a_constant_too():
    found = run("{{ 'a: b' }}{{ missing }}{{ [1] }}")
    assert TOKEN.sub("", found.text()) == ""
    assert [token.value for token in found.tokens] == ["a: b", "", [1]]
    assert [token.missing for token in found.tokens] == ["", "missing", ""]


def test_taint_goes_by_expression_and_by_the_lists_of_loops_around():
    """T6"""
    text = (
        "{{ a }}{{ b ~ a }}{{ b }}{% for x in a %}{{ x }}{{ b }}{{ 1 }}{% endfor %}{% for x in b %}{{ x }}{% endfor %}"
    )
    found = run(text, tainted={"a"}, a=["p"], b=["q"])
    assert [token.tainted for token in found.tokens] == [True, True, False, True, True, True, False]


def test_the_loop_variable_hides_a_tainted_name_only_in_the_loop():
    found = run("{% for a in b %}{{ a }}{% endfor %}{{ a }}", tainted={"a"}, a="p", b=["q"])
    assert [token.tainted for token in found.tokens] == [False, True]


def test_lines_with_nothing_but_statements_leave_nothing_behind():
    text = "a:\n  {% if true %}\n  - x\n  {% endif %}\n"
    text += "  {% for i in [1] %}{% if i %}\n  - y\n  {% endif %}{% endfor %}\nb\n"
    assert filled(text) == "a:\n  - x\n  - y\nb\n"


def test_a_line_with_text_beside_a_statement_stays():
    assert filled("a: {% if true %}x{% endif %}\nb\n") == "a: x\nb\n"


def test_every_character_knows_where_it_comes_from():
    """Positions stay true through loops, trims and raw."""
    text = (
        "a\n{% for i in [1, 2] -%}\n  b{{ i }}c\n{% endfor %}\n{% raw %}{{d{% endraw %}\n  {%- if true %} e{% endif %}"
    )
    found = run(text)
    rendered = found.text()
    for index, char in enumerate(rendered):
        if char in "abcde":
            assert text[found.origin(index)] == char
    assert {found.origin(index) for index, char in enumerate(rendered) if char == "b"} == {text.index("b")}


def test_several_bad_outputs_are_told_at_once():
    text = "{{ a b }}\n{{ ok }}\n{{ | x }}\n"
    template, found = parse(text)
    assert template is not None
    assert [fault.offset for fault in found] == [0, text.index("{{ |")]


@pytest.mark.parametrize(
    "text", ["echo {{.Name}}", "{{range $i := .L}}x{{end}}", "{{ if .X }}{{ end }}", "{{/* c */}}", "{{ $.Name }}"]
)
def test_go_templates_are_told_as_such(text):
    _, found = parse(text)
    assert "Go templates" in found[0].message and "template: go" in found[0].expected


def test_native_range_is_no_go():
    assert parse("{{ range(3) }}")[1] == []


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}", {}),
        ("{% for a in range(90000) %}{{ a + 1 + 1 + 1 + 1 + 1 + 1 + 1 }}{% endfor %}", {}),
        ("{% for a in range(1000) %}{{ b }}{% endfor %}", {"b": "x" * 100_000}),
        ("{% for a in range(1000) %}{{ (" + " ~ ".join(["b"] * 50) + ") | length }}{% endfor %}", {"b": "x" * 100_000}),
        ("{% for a in range(1000) %}{{ range(90000) | sort | length }}{% endfor %}", {}),
        ("{% for a in range(1000) %}{{ 'q' in b }}{% endfor %}" * 100, {"b": "x" * 1_000_000}),
    ],
)
def test_what_runs_away_is_stopped(text, names):
    """T13"""
    template, found = parse(text)
    assert not found
    with pytest.raises(Fault):
        template.render(Run(dict(names), frozenset(), Budget()))


def test_a_secret_cannot_be_changed_or_compared():
    from formicary.runner.core.names import secret_token

    token = secret_token("Key")
    assert filled("{{ k ~ '!' }}{{ k | default('') }}", k=token) == token + "!" + token
    for text in (
        "{{ k | upper }}",
        "{{ k | length }}",
        "{{ k == 'x' }}",
        "{{ 'x' in k }}",
        "{% if k < 'x' %}{% endif %}",
    ):
        assert "secret" in faults(text, k=token)[0]


def test_names_are_known_before_a_rendering():
    template, _ = parse("{{ a.b }}{% if c %}{% for d in e %}{{ d }}{{ f | default(g) }}{% endfor %}{% endif %}")
    assert template.names == {"a", "c", "e", "f", "g"}


def test_bad_statements_do_not_hide_the_rest():
    text = "{% if a = b %}x{% elif ( %}y{% endif %}{% for x of y %}{% endfor %}{% do x %}{{ | }}{{ a ** b }}"
    template, found = parse(text)
    assert template is not None
    assert sorted(fault.offset for fault in found) == [
        text.index(piece) for piece in ("{% if a", "{% elif", "{% for x", "{% do", "{{ |", "{{ a **")
    ]


def test_what_is_in_raw_is_not_blamed():
    text = "{% raw %}{{ a b }}{% endraw %}{{ c d }}{% raw %}{{ | }}{% endraw %}"
    _, found = parse(text)
    assert [fault.offset for fault in found] == [text.index("{{ c")]
