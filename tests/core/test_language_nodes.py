"""YAML 1.2 core schema, own composer (T16)."""

import pytest

from formicary.runner.core.language.limits import Budget, Fault
from formicary.runner.core.language.nodes import Mapping, Scalar, Sequence, compose, resolve


def plain(node):
    if isinstance(node, Scalar):
        return resolve(node.text) if node.plain else node.text
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return {key.text: plain(value) for key, value in node.pairs}


def tree(text):
    return plain(compose(text, Budget()))


def fault(text):
    with pytest.raises(Fault) as caught:
        compose(text, Budget())
    return caught.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("yes", "yes"),
        ("true", True),
        ("False", False),
        ("12", 12),
        ("-12", -12),
        ("0777", 777),
        ("0o17", 15),
        ("0x1F", 31),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("3.10", 3.1),
        ("1e3", 1000.0),
        ("2001-12-14", "2001-12-14"),
        ("~", None),
        ("null", None),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("1" * 5000, "1" * 5000),
        ("'12'", "12"),
        ("!!str 12", "12"),
    ],
)
def test_the_core_schema(text, value):
    """T16: `on` is no truth, 1:30 no number, a date is text."""
    found = tree(f"a: {text}")["a"]
    assert found == value and type(found) is type(value)


def test_duplicate_keys_are_refused_where_the_second_stands():
    """T16"""
    found = fault("a: 1\nb: 2\na: 3\n")
    assert found.offset == 10 and "twice" in found.message


def test_anchors_and_merge_keys():
    text = "x: &x {a: 1, b: 2}\ny: &y {b: 3}\nz: {<<: [*x, *y], c: *x, a: 9}\n"
    assert tree(text)["z"] == {"a": 9, "b": 2, "c": {"a": 1, "b": 2}}


def test_a_merge_takes_mappings_only():
    assert "<<" in fault("x: &x [1]\ny: {<<: *x}").message


@pytest.mark.parametrize("text", ["a: *nothing", "a: &a [*a]"])
def test_an_alias_needs_an_anchor_before_it(text):
    assert fault(text).offset == text.index("*")


def test_aliases_count_for_what_they_stand_for():
    """T16: nine times nine times … is counted before anything is unfolded."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    assert "50,000" in fault("\n".join(lines)).message


@pytest.mark.parametrize("text", ["[" * 5000, "- " * 5000 + "a", "".join(" " * n + "a:\n" for n in range(300))])
def test_depth_is_stopped_on_the_events(text):
    """T16: deep nesting crashes libyaml's own composer."""
    assert "64 deep" in fault("a:\n  " + text if text[0] == "-" else text).message


def test_sixty_four_levels_are_allowed():
    assert compose("[" * 64 + "]" * 64, Budget()) is not None


def test_an_escape_makes_no_reserved_character():
    """A token cannot be forged with an escape."""
    assert "escape" in fault('a: "\\U0010F0000\\U0010F001"').message
    assert "NUL" in fault('a: "x\\0"').message


@pytest.mark.parametrize("tag", ["!foo", "!!binary", "!!python/object:os.system", "!!timestamp"])
def test_tags_are_refused(tag):
    """T16"""
    assert "tag" in fault(f"a: {tag} x").message


def test_places_count_characters_and_not_bytes():
    node = compose("é: 😀\nb: c\n", Budget())
    assert isinstance(node, Mapping)
    assert [key.start for key, _ in node.pairs] == [0, 5]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: b: c", "`:`"),
        ("a:\n\tb: c", "A tab"),
        ("a: [1, 2", "not closed"),
        ("a: 'x", "not closed"),
        ("a: 1\n b: 2", "`:`"),
        ("a:\n- 1\n b: 2", "not valid YAML"),
        ("a: %x", "begin a value"),
        ("a: @x", "begin a value"),
        ("? [a]\n: b", "key must be a text"),
    ],
)
def test_what_the_parser_says_is_said_in_words(text, words):
    found = fault(text)
    assert words in found.message
    assert found.expected and 0 <= found.offset <= len(text)
