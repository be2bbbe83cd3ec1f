"""What a notification says, and how it is written for mail, chat and everything else. Pure.

Everything in a notice but the labels may come from outsiders (T6): a title, a branch, a log. So each way of writing it
takes the meaning out of whatever that way gives meaning to.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

MOST_SUBJECT: Final = 150
MOST_EXCERPT: Final = 2048
"""Bytes of the log that are shown."""
MOST_REPORT: Final = 8192
"""Bytes of what a task wrote that are shown where that is the message (`report_stdout`)."""
_MARKDOWN: Final = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~])")
_MENTION: Final = re.compile(r"@(?=everyone|here|channel|all)|(?<=<)[!@#](?=\w)", re.I)
_NOTHING: Final = "\u200b"
_POINTED: Final = str.maketrans({"<": "\u2039", ">": "\u203a"})
_STYLE: Final = "font-family:ui-monospace,Menlo,Consolas,monospace;font-size:13px;"


@dataclass(frozen=True, slots=True)
class Notice:
    """`facts`: label and value, a line each; `excerpt`: lines of a log, and `excerpt_of` says whose; `more`: lists of
    one line each, with a heading; `good`: whether this is good news, None where it is neither."""

    subject: str
    good: bool | None = None
    facts: Sequence[tuple[str, str]] = ()
    more: Sequence[tuple[str, Sequence[str]]] = ()
    excerpt_of: str = ""
    excerpt: str = ""
    link: str = ""


def one_line(text: str, most: int = MOST_SUBJECT) -> str:
    """The text on one line, without control characters, not longer than this."""
    line = "".join(char if char.isprintable() else " " for char in text)
    line = " ".join(line.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def one_line_of_chat(text: str) -> str:
    """A subject that mentions nobody and links nowhere, where a chat reads it as its own markup."""
    return _silent(one_line(text)).translate(_POINTED)


def as_text(notice: Notice) -> str:
    """Plain text, without the subject. Chats read it too, so it mentions nobody."""
    parts = ["\n".join(f"{label}: {one_line(value, 500)}" for label, value in notice.facts)]
    parts += ["\n".join([f"{heading}:", *(f"  {one_line(line)}" for line in lines)]) for heading, lines in notice.more]
    if notice.excerpt:
        shown = "\n".join(f"  | {line}" for line in notice.excerpt.splitlines())
        parts.append(f"{one_line(notice.excerpt_of)}:\n{shown}")
    return _silent("\n\n".join([*filter(None, parts), *filter(None, [notice.link])])) + "\n"


def as_html(notice: Notice) -> str:
    """A fragment for a mail: no style sheet, no picture, no script; every value is text."""
    colour = {True: "#1a7f37", False: "#cf222e", None: "#57606a"}[notice.good]
    parts = [
        f'<p style="border-left:4px solid {colour};padding-left:8px"><b>{escape(one_line(notice.subject))}</b></p>'
    ]
    facts = (f"{escape(label)}: {escape(one_line(value, 500))}" for label, value in notice.facts)
    parts.append(f"<p>{'<br>'.join(facts)}</p>")
    for heading, lines in notice.more:
        items = "".join(f"<li>{escape(one_line(line))}</li>" for line in lines)
        parts.append(f"<p>{escape(heading)}:</p><ul>{items}</ul>")
    if notice.excerpt:
        parts.append(f"<p>{escape(one_line(notice.excerpt_of))}:</p>")
        parts.append(
            f'<pre style="{_STYLE}background:#f6f8fa;padding:8px;overflow-x:auto">{escape(notice.excerpt)}</pre>'
        )
    if notice.link:
        parts.append(f'<p><a href="{escape(notice.link)}">{escape(notice.link)}</a></p>')
    return "\n".join(parts)


def as_markdown(notice: Notice) -> str:
    """CommonMark, for chats: nobody is mentioned by it, and no text of it is a link but ours."""
    parts = ["\n".join(f"**{_plain(label)}**: {_plain(one_line(value, 500))}  " for label, value in notice.facts)]
    for heading, lines in notice.more:
        parts.append("\n".join([f"{_plain(heading)}:", "", *(f"* {_plain(one_line(line))}" for line in lines)]))
    if notice.excerpt:
        fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", notice.excerpt)), 0)
        parts.append(f"{_plain(one_line(notice.excerpt_of))}:\n\n{fence}\n{_silent(notice.excerpt)}\n{fence}")
    return "\n\n".join([*filter(None, parts), *filter(None, [f"<{notice.link}>" if notice.link else ""])]) + "\n"


def _plain(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", _silent(text))


def _silent(text: str) -> str:
    """Text that mentions nobody: what follows an @ is parted from it by a character without width."""
    return _MENTION.sub(lambda found: found[0] + _NOTHING, text)
