"""The frame that all pages have: one file, and a policy by which the browser loads and runs nothing else."""

from __future__ import annotations

import base64
import hashlib
from html import escape


def digest(text: str) -> str:
    """How a content-security policy names a script or a style sheet that stands in the page."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def document(title: str, sources: str, style: str, body: str) -> str:
    """A page of HTML.

    Parameters
    ----------
    title : str
        Plain text.
    sources : str
        What the policy allows besides the style sheet, such as "img-src data:".
    style, body : str
        The style sheet, and the content of the body, which is HTML.
    """
    policy = (
        f"default-src 'none'; {sources}; style-src '{digest(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width">
<title>{escape(title)}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""
