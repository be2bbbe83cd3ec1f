"""The go dialect's templates: what may be written and what it means, as Go's text/template, and nothing else (T13)."""

import pytest

from formicary.runner.core.language.go.template import parse
from formicary.runner.core.language.limits import SECRET_OPEN, Budget, Fault
from formicary.runner.core.language.run import TOKEN, Run
from formicary.runner.core.names import secret_token

NAMES = {
    "A": "x",
    "N": 5,
    "F": 1.5,
    "T": True,
    "E": "",
    "U": "né",
    "L": ["p", "q"],
    "M": {"k": "v", "d": {"e": "f"}},
    "a-b": {"c": 1},
}


def run(text, tainted=(), budget=None, seed=0, **names):
    template, faults = parse(text)
    assert not faults, faults
    found = Run(names, frozenset(tainted), budget or Budget(), seed)
    template.render(found)
    return found


def filled(text, **more):
    found = run(text, **(NAMES | more))
    assert not [token.fault for token in found.tokens if token.fault]
    assert not [doubt.fault for doubt in found.doubts if doubt.fault]
    return TOKEN.sub(lambda match: found.tokens[int(match[1])].text, found.text())


def faults(text, **more):
    template, found = parse(text)
    if found or template is None:
        return [fault.message for fault in found]
    made = Run(NAMES | more, frozenset(), Budget())
    template.render(made)
    return [each.fault.message for each in (*made.tokens, *made.doubts) if each.fault]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{.A}}{{ .A }}{{$.A}}{{.M.k}}{{.M.d.e}}{{(.M).k}}", "xxxvfv"),
        ('{{"a\\x41\\u00e9\\n"}}{{`b"\\n`}}', 'aAé\nb"\\n'),
        ("{{1}}{{-3}}{{0x1F}}{{1_000}}{{012}}{{2.5}}{{true}}", "1-331100010" + "2.5true"),
        ("{{.Q}}{{.Q.a.b}}{{.M.q}}{{$.Q}}", ""),
        ("{{if .A}}y{{else}}n{{end}}{{if .E}}y{{else}}n{{end}}{{if .Q}}y{{end}}{{if not .Q}}n{{end}}", "ynn"),
        ("{{if eq .N 1}}1{{else if eq .N 5}}5{{else if .A}}a{{else}}n{{end}}", "5"),
        ("{{if $x := .A}}{{$x}}{{else}}{{$x}}n{{end}}", "x"),
        ("{{range $v := Iterate 3}}{{$v}}{{.}}{{end}}", "001122"),
        ("{{range $i, $v := .L}}{{$i}}{{$v}}{{$.A}},{{end}}", "0px,1qx,"),
        ("{{range .L}}{{.}}{{end}}{{range .M}}{{else}}n{{end}}{{range .Q}}y{{else}}n{{end}}", "pqn"),
        ("{{range $k, $v := .M}}{{$k}}{{end}}", "dk"),
        ("{{range Iterate 2}}{{range $.L}}{{.}}{{end}}{{.}}{{end}}", "pq0pq1"),
        ("{{with .M}}{{.k}}{{$.A}}{{end}}{{with .Q}}y{{else}}{{.A}}{{end}}{{with $m := .M}}{{$m.k}}{{end}}", "vxxv"),
        ('{{eq .A "y" "x"}}{{ne .A "x"}}{{eq .Q nil}}{{eq .Q "x"}}{{eq .T true}}', "truefalsetruefalsetrue"),
        ("{{lt 1 2}}{{le 2 2}}{{gt 1 2}}{{ge 2 2}}{{lt 1.5 2.5}}{{lt `B` `a`}}", "truetruefalsetruetruetrue"),
        ('{{and .A .N}}{{and .E .N}}{{or .E .A}}{{or 0 ""}}{{not .A}}{{and 1 0 .N.x}}', "5xfalse0"),
        ('{{index .L 1}}{{index .M "d" "e"}}{{index .U 1}}{{index .M "q"}}', "qf195"),
        ('{{index $ "a-b" "c"}}{{index . "A"}}', "1x"),
        ("{{len .L}}{{len .U}}{{len .M}}{{len .Q}}", "2320"),
        ("{{Add 1 .N}}{{Add 2 3 | printf `%03d`}}", "6005"),
        ('{{with Dict "a" 1 "b" .A}}{{.a}}{{.b}}{{end}}', "1x"),
        ('{{default "d" .Q}}{{default "d" .E}}{{default "d" .A}}{{.Q | default "d"}}{{default 1 0}}', "ddxd0"),
        ('{{trimPrefix "refs/x" "refs/"}}{{trimSuffix .A "y"}}{{.A | trimPrefix "xy"}}', "xxy"),
        ('{{hasPrefix .A "x"}}{{hasSuffix .A "y"}}{{contains "abc" "b"}}', "truefalsetrue"),
        ('{{lower "AÉ"}}{{upper .U}}{{replace "aba" "a" "c"}}{{replace "ab" "" "-"}}', "aéNÉcbc-a-b-"),
        ('{{atoi " 12ab"}}{{atoi "x"}}{{atoi "-3"}}{{.Q | atoi}}', "120-30"),
        ("{{.M | Unescape | len}}{{Unescape .A}}", "2x"),
        ("{{/* a comment }} */}}x{{- /* another */ -}} y", "xy"),
        ("a {{- .A -}} \n b{{- 3}}{{3 -}} c", "axb33c"),
        ('{{.A}} {{- ""}}', "x"),
        ('{{"{{"}}.A}}{{"}}"}}', "{{.A}}}}"),
        ('{{\n  eq\n .A "x"\n}}', "true"),
    ],
)
def test_what_may_be_written(text, value):
    assert filled(text) == value


@pytest.mark.parametrize(
    ("form", "values", "text"),
    [
        ("%s|%v|%5s|%-5s|%.1s", ["ab"] * 5, "ab|ab|   ab|ab   |a"),
        ("%d|%5d|%-5d|%05d|%+d|% d", [-7, 7, 7, -7, 7, 7], "-7|    7|7    |-0007|+7| 7"),
        ("%x|%X|%#x|%x", [255, 255, 255, "hé"], "ff|FF|0xff|68c3a9"),
        ("%f|%.2f|%8.3f|%08.3f", [1.5, 2.346, 3.14159, -3.14159], "1.500000|2.35|   3.142|-003.142"),
        ("%q|%6q", ['a"\n\0é\u200b', "a"], '"a\\"\\n\\x00é\\u200b"|   "a"'),
        ("%t|%v|%%", [True, False], "true|false|%"),
        ("%v %v %v %v", [1.0, 1000000.0, 0.00001, 123456789.0], "1 1e+06 1e-05 1.23456789e+08"),
        ("%v|%s", [["a", 1], {"k": None}], '["a", 1]|{"k": null}'),
        ("%s", [7], "7"),
    ],
)
def test_printf_writes_as_go_does(form, values, text):
    names = {f"V{index}": value for index, value in enumerate(values)}
    assert filled(f"{{{{printf `{form}` {' '.join('.' + name for name in names)}}}}}", **names) == text


@pytest.mark.parametrize(
    "call",
    [
        "printf .N",
        'printf "%d"',
        'printf "%d" 1 2',
        'printf "%d" .A',
        'printf "%d" 1.5',
        'printf "%d" .Q',
        'printf "%f" 1',
        'printf "%t" 1',
        'printf "%x" 1.5',
        'printf "%q" 1',
        'printf "%201d" 1',
        'printf "%.999999999999f" 1.5',
        'printf "%*d" 1 2',
        'printf "%c" 1',
        'printf "%[1]d" 1',
        'printf "%" 1',
        'printf "%#v" 1',
    ],
)
def test_what_printf_cannot_do_is_a_fault(call):
    assert faults(f"{{{{{call}}}}}")


@pytest.mark.parametrize(
    "text",
    [
        "{{$x := 1}}",
        "{{range $x := .L}}{{$x = 1}}{{end}}",
        "{{if $x = 1}}{{end}}",
        "{{range $a, $b, $c := .L}}{{end}}",
        "{{with $a, $b := .L}}{{end}}",
        "{{$x}}",
        "{{range $x := .L}}{{end}}{{$x}}",
        '{{define "a"}}x{{end}}',
        '{{template "a"}}',
        '{{block "a" .}}x{{end}}',
        "{{break}}",
        "{{range .L}}{{continue}}{{end}}",
        "{{.}}",
        "{{$}}",
        "{{index . .A}}",
        "{{index $}}",
        "{{printf `%v` .}}",
        "{{call .A}}",
        "{{print .A}}",
        "{{js .A}}",
        "{{.A .N}}",
        "{{.A | .N}}",
        "{{1 | 2}}",
        "{{nil}}",
        "{{'a'}}",
        "{{1i}}",
        "{{0x}}",
        "{{99999999999999999999}}",
        "{{1e999}}",
        '{{"\\q"}}',
        '{{"\\xff"}}',
        '{{"\\U0010F002"}}',
        '{{"\\000"}}',
        '{{"a}}',
        '{{"a\n"}}',
        "{{`a}}",
        "{{(.A}}",
        "{{.A)}}",
        "{{}}",
        "{{ }}",
        "{{|}}",
        "{{.A |}}",
        "{{.A,.N}}",
        "{{..A}}",
        "{{.A-.N}}",
        "{{1 + 2}}",
        "{{.a-b}}",
        "{{lower(.A)}}",
        "{{lower}}",
        "{{eq .A}}",
        "{{lt 1 2 3}}",
        "{{trimPrefix .A}}",
        "{{upper .A .A}}",
        "{{if}}x{{end}}",
        "{{if .A}}x",
        "{{end}}",
        "{{else}}",
        "{{if .A}}{{else}}{{else}}{{end}}",
        "{{range .L}}{{else if .A}}{{end}}",
        "{{with .A}}{{else with .N}}{{end}}",
        "{{if .A}}{{end .A}}",
        "{{.A",
        "{{/* a",
        "{{/* a */ .A}}",
        "{{/* a */ }}",
        "{{ /* a */}}",
        "{{-.A}}",
        "{{.A-}}",
        "{{" + "(" * 100 + ".A" + ")" * 100 + "}}",
        "{{if .A}}" * 100 + "{{end}}" * 100,
    ],
)
def test_nothing_else_may_be_written(text):
    """T13: refused before anything runs, at its place and with a remedy."""
    _, found = parse(text)
    assert found and all(fault.message and fault.expected for fault in found)


def test_a_minus_without_a_blank_is_a_sign_and_no_trim_mark():
    assert filled("a {{-3}} b") == "a -3 b"
    assert filled("a {{- 3}} b") == "a3 b"


@pytest.mark.parametrize(
    "text",
    [
        "{{.A.b}}",
        "{{.N.x}}",
        "{{eq .A 1}}",
        "{{eq 1 1.5}}",
        "{{eq .L .L}}",
        "{{lt .A 1}}",
        "{{lt true false}}",
        "{{lt .M .M}}",
        "{{lt .Q 1}}",
        "{{lt nil 1}}",
        "{{index .L 2}}",
        "{{index .L -1}}",
        "{{index .L .A}}",
        "{{index .M 1}}",
        "{{index .N 1}}",
        "{{len .N}}",
        "{{Iterate .A}}",
        "{{Iterate -1}}",
        "{{Iterate 100001}}",
        "{{range Iterate .Q}}{{end}}",
        "{{range .A}}{{end}}",
        "{{Add .A 1}}",
        "{{Add 9223372036854775807 1}}",
        '{{Dict "a"}}',
        "{{Dict 1 2}}",
        "{{Random 5 5}}",
        "{{Random .A 5}}",
    ],
)
def test_what_has_no_meaning_is_a_fault(text):
    assert faults(text)


def test_random_follows_from_the_seed_and_keeps_its_bounds():
    def draw(seed):
        return [token.value for token in run("{{Random 3 6}}" * 40, seed=seed).tokens]

    assert draw(1) == draw(1) != draw(2)
    assert set(draw(1)) == set(draw(2)) == {3, 4, 5}


def test_every_output_is_a_token_a_constant_too():
    found = run('{{"a: b"}}{{.Q}}{{.L}}', L=[1])
    assert TOKEN.sub("", found.text()) == ""
    assert [token.value for token in found.tokens] == ["a: b", "", [1]]
    assert [token.missing for token in found.tokens] == ["", "Q", ""]


def test_taint_goes_by_expression_by_variables_and_by_the_lists_of_loops_around():
    """T6"""
    text = "{{.a}}{{printf `%s` (lower .a)}}{{.b}}{{index $ `a`}}{{with .a}}{{.}}{{end}}{{if $x := .a}}{{$x}}{{end}}"
    found = run(text, tainted={"a"}, a="p", b="q")
    assert [token.tainted for token in found.tokens] == [True, True, False, True, True, True]
    text = "{{range $i, $v := .a}}{{$i}}{{$v}}{{.}}{{$.b}}{{1}}{{end}}{{range .b}}{{.}}{{$.a}}{{end}}"
    found = run(text, tainted={"a"}, a=["p"], b=["q"])
    assert [token.tainted for token in found.tokens] == [True] * 5 + [False, True]


def test_names_are_known_before_a_rendering():
    template, _ = parse("{{.a.b}}{{if $.c}}{{range $x := .d}}{{.e}}{{$x.f}}{{$.g}}{{index $ `h-i`}}{{end}}{{end}}")
    assert template.names == {"a", "c", "d", "g", "h-i"}


def test_a_secret_cannot_be_changed_or_compared():
    token = secret_token("Key")
    kept = "{{.k}}{{default `` .k}}{{.k | printf `-%s`}}{{or .E .k}}{{if .k}}y{{end}}{{Unescape .k}}"
    assert filled(kept, k=token) == f"{token}{token}-{token}{token}y{token}"
    for call in ("upper .k", "len .k", "eq .k `x`", "lt .k `x`", "index .k 0", "printf `%5s` .k", "contains .k `x`"):
        assert "secret" in faults(f"{{{{{call}}}}}", k=token)[0], call
    assert SECRET_OPEN in token


def test_lines_with_nothing_but_statements_leave_nothing_behind():
    text = "a:\n  {{if true}}\n  - x\n  {{/* c */}}\n  {{end}}\n  {{range .L}}{{if .}}\n  - y\n  {{end}}{{end}}\nb\n"
    assert filled(text) == "a:\n  - x\n  - y\n  - y\nb\n"
    assert filled("a: {{if true}}x{{end}}\nb\n") == "a: x\nb\n"
    assert filled("tasks:\n{{- range Iterate 2}}\n- x\n{{- end}}\nb") == "tasks:\n- x\n- x\nb"


def test_every_character_knows_where_it_comes_from():
    """Positions stay true through loops and trims."""
    text = "a\n{{range $i := .L -}}\n  b{{$i}}c\n{{end}}\n  {{- if true}} e{{end}}\n"
    found = run(text, L=[1, 2])
    rendered = found.text()
    for index, char in enumerate(rendered):
        if char in "abce":
            assert text[found.origin(index)] == char
    assert {found.origin(index) for index, char in enumerate(rendered) if char == "b"} == {text.index("b")}


def test_all_that_is_wrong_is_told_at_once():
    text = "{{.A .B}}\n{{ok .A}}{{.B}}{{if 'x'}}{{foo 1}}{{end}}{{define `x`}}{{end}}{{.C | 3}}"
    template, found = parse(text)
    assert template is not None
    pieces = (".B}}\n", "ok", "'x'", "foo", "{{define", "3}}")
    assert sorted(fault.offset for fault in found) == [text.index(piece) for piece in pieces]


@pytest.mark.parametrize(
    "text",
    [
        "{% if x %}a{% endif %}",
        "{%- for x in y %}",
        "echo {{ Name }}",
        "{{ Name | upper }}",
        "{{ a.b }}",
        "{{ a['b'] }}",
        "{{ x == 1 }}",
    ],
)
def test_native_templates_are_told_as_such(text):
    """No guessing."""
    template, (fault,) = parse(f"{{{{.A}}}}{text}")
    assert template is None and "native templates" in fault.message and "template: native" in fault.expected


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{{range Iterate 100000}}{{range Iterate 100000}}{{end}}{{end}}", {}),
        ("{{range Iterate 90000}}{{Add 1 (Add 1 (Add 1 (Add 1 1)))}}{{end}}", {}),
        ("{{range Iterate 1000}}{{$.b}}{{end}}", {"b": "x" * 100_000}),
        ("{{range Iterate 1000}}{{len (printf `%s%s` $.b $.b)}}{{end}}", {"b": "x" * 100_000}),
        ("{{range Iterate 1000}}{{len (replace $.b `x` `yy`)}}{{end}}", {"b": "x" * 100_000}),
        ("{{range Iterate 1000}}{{contains $.b `q`}}{{end}}" * 9, {"b": "x" * 1_000_000}),
        ("{{range Iterate 999}}{{len (Iterate 99999)}}{{end}}" * 9, {}),
        ("{{with Dict `a` .a `b` .a}}" + "{{with Dict `a` . `b` .}}" * 60 + "{{.}}" + "{{end}}" * 61, {"a": 1}),
    ],
)
def test_what_runs_away_is_stopped(text, names):
    """T13"""
    template, found = parse(text)
    assert not found, found
    with pytest.raises(Fault):
        made = Run(dict(names), frozenset(), Budget())
        template.render(made)
        raise next(token.fault for token in made.tokens if token.fault)
