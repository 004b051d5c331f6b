"""Text of strangers made safe to look at: escaped, with what is invisible or turns the line round spelled out."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

# Control characters, marks that reorder or hide text, lone surrogates, private use. Joiners and plain direction marks
# belong to honest writing and stay.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u061c\u200b\u2028-\u202e\u2060\u2066-\u2069\ud800-\udfff\ue000-\uf8ff\ufeff]"
)


def visible(text: object) -> Markup:
    """Escaped text in which such characters stand as their code points, as in "U+202E"; line ends stay."""
    return Markup(_HIDDEN.sub(_spelled, str(escape(str(text)))))


def visible_text(text: object) -> str:
    """The same where there can be no markup; not escaped."""
    return _HIDDEN.sub(lambda found: f"U+{ord(found[0]):04X}", str(text))


def _spelled(found: re.Match[str]) -> str:
    return f'<span class="hidden-character">U+{ord(found[0]):04X}</span>'
