"""The door's own few pages (login, API documentation): one style, no script, nothing from another host."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from typing import Final

from starlette.responses import HTMLResponse

_STYLE: Final = """
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#5b6570;--paper:#fbfbfa;--line:#d9dde1;--mark:#8a4b08;--bad:#b3261e}
@media(prefers-color-scheme:dark){:root{--ink:#e6e8ea;--soft:#9aa4ae;--paper:#15181b;--line:#30363c;--mark:#e0a458;
--bad:#ff8a80}}
body{margin:0 auto;max-width:60rem;padding:2rem 1rem;font:16px/1.5 system-ui,sans-serif;color:var(--ink);
background:var(--paper)}
h1{font-size:1.6rem}h2{font-size:1.15rem;margin-top:2.2rem;border-bottom:1px solid var(--line)}
code,pre,input{font:14px/1.45 ui-monospace,monospace}pre{overflow:auto;border:1px solid var(--line);padding:.6rem}
a{color:var(--mark)}.soft{color:var(--soft)}.bad{color:var(--bad)}
label{display:block}input:not([type=hidden]){padding:.5rem;width:min(100%,34rem);box-sizing:border-box}
button{padding:.5rem 1rem;margin-top:.6rem;display:block;font:inherit}
summary{cursor:pointer;padding:.25rem 0}summary b{display:inline-block;min-width:4.5rem;color:var(--mark)}
details{border-bottom:1px solid var(--line)}table{border-collapse:collapse;width:100%}
td,th{text-align:left;vertical-align:top;padding:.2rem .6rem .2rem 0}
"""
_DIGEST: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)


def plain_page(title: str, body: str, status: int = 200) -> HTMLResponse:
    """`body` is HTML; what is put into it must have been escaped."""
    html = f"""<!doctype html>
<html lang=en><head><meta charset=utf-8><meta name=viewport content="width=device-width">
<title>{escape(title)} · Formicary</title><style>{_STYLE}</style></head>
<body><main><h1>{escape(title)}</h1>
{body}
</main></body></html>"""
    return HTMLResponse(html, status, {"Content-Security-Policy": _POLICY})
