"""The style sheet: every text colour reads well on every ground it stands on (WCAG AA), and status has shapes."""

import re

import pytest

from formicary.runner.core.states import State
from formicary.site.render import _environment, static_files
from formicary.site.status import status

STYLE = static_files()["formicary.css"].decode()
LIGHT = re.search(r":root\{(.*?)\}", STYLE, re.S)[1]
DARK = re.search(r":root\[data-theme=dark\]\{(.*?)\}", STYLE, re.S)[1]


def colours(block):
    return dict(re.findall(r"--(\w+):(#[0-9a-f]{6})", block))


def luminance(colour):
    parts = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    red, green, blue = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def mixed(one, other, share):
    """color-mix(in srgb, one share, other)."""
    pair = [(int(one[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a * share + b * (1 - share)):02x}" for a, b in pair)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_text_reads_well(theme):
    own = colours(LIGHT) | colours(theme)
    for text in ("ink", "soft", "accent", "ok", "bad", "run", "wait", "off"):
        for ground in ("bg", "card"):
            assert contrast(own[text], own[ground]) >= 4.5, (text, ground)
    for tone in ("ok", "bad", "run", "wait", "off"):
        assert contrast(own[tone], mixed(own[tone], own["bg"], 0.13)) >= 4.5, tone
        assert contrast(own["ink"], mixed(own[tone], own["card"], 0.10)) >= 4.5, tone
    assert contrast(own["onaccent"], own["accent"]) >= 4.5
    for text in ("logink", "logsoft"):
        assert contrast(own[text], own["log"]) >= 4.5, text


@pytest.mark.parametrize("index", range(16))
def test_terminal_colours_read_well(index):
    colour = re.search(rf"\.f{index}\{{color:(#[0-9a-f]{{3,6}})\}}", STYLE)[1]
    colour = colour if len(colour) == 7 else "#" + "".join(2 * char for char in colour[1:])
    assert contrast(colour, colours(LIGHT)["log"]) >= 4.5


def test_both_ways_to_dark_are_the_same():
    asked = re.search(r"prefers-color-scheme:dark\)\{:root:not\(\[data-theme=light\]\)\{(.*?)\}\}", STYLE, re.S)[1]
    assert colours(asked) == colours(DARK) and len(colours(asked)) >= 12


def test_every_state_has_a_shape():
    sprite = _environment().get_template("sprite.html").render()
    shapes = {state: re.search(rf'id="i-{status(state).icon}".*?</symbol>', sprite, re.S)[0] for state in State}
    assert len({re.sub(r'id="[^"]*"', "", shape) for shape in shapes.values()}) == len(State)


def test_nothing_moves_for_who_does_not_want_it():
    assert "prefers-reduced-motion" in STYLE and ":focus-visible" in STYLE
