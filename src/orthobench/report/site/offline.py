"""A page that others wrote, made to work from a disk: no address outside of the site, no script but from a file."""

import base64
import hashlib
import re
from dataclasses import dataclass
from html import escape
from html.parser import HTMLParser

_OUTSIDE = re.compile(r"\s*(https?:)?//", re.IGNORECASE)
_STYLED = re.compile(r"""(?:url\(\s*|@import\s+(?:url\(\s*)?)["']?\s*((?:https?:)?//[^"')\s]+)""", re.IGNORECASE)
# Attributes whose address a browser loads by itself; that of a link in the text is for the reader.
_LOADED = ("src", "srcset", "data", "poster", "background", "manifest", "action", "formaction", "xlink:href")
_LINKS = ("a", "area")


@dataclass(frozen=True)
class Replaced:
    """What stands for an outside address: a file of ours, and scripts of ours that follow it; nothing if empty."""

    file: str = ""
    followed_by: tuple = ()  # addresses


def rehome(html, replaced, folder, head="", body="", without=()):
    """Return a page with its inline scripts moved to files, its outside addresses replaced, and a strict policy.

    Scripts in attributes (``onclick``) stay, each allowed by its hash.

    Parameters
    ----------
    html : str
        Nothing in it may be a stranger's text: it decides what runs.
    replaced : dict
        A `Replaced` by outside address.
    folder : str
        The address, from the page, of the folder for the files.
    head, body : str
        HTML to put at the beginning of either.
    without : tuple of str
        Elements with such a script in an attribute are left out.

    Returns
    -------
    html : str
    files : dict
        Content by name in the folder.

    Raises
    ------
    RuntimeError
        If the page loads from an outside address that is not in ``replaced``; the message names it.
    """
    page = _Page(replaced, folder, body, without)
    page.feed(html)
    page.close()
    if page.outside:
        raise RuntimeError(f"it loads {', '.join(sorted(page.outside))}, and nothing here stands for it.")
    policy = f'<meta http-equiv="Content-Security-Policy" content="{_policy(page.handlers)}">\n'
    return "".join(page.pieces).replace(_HEAD, policy + head, 1), page.files


_HEAD = "\0head\0"


def _policy(handlers):
    hashes = sorted({f"'sha256-{base64.b64encode(_digest(each)).decode()}'" for each in handlers})
    allowed = ["'self'", "'unsafe-hashes'", *hashes] if hashes else ["'self'"]
    return (
        f"default-src 'none'; script-src {' '.join(allowed)}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'"
    )


def _digest(text):
    return hashlib.sha256(text.encode()).digest()


class _Page(HTMLParser):
    """Copies a page piece by piece."""

    def __init__(self, replaced, folder, body, without):
        super().__init__(convert_charrefs=False)
        self.replaced, self.folder, self.body, self.without = replaced, folder, body, without
        self.pieces, self.files, self.handlers, self.outside = [], {}, set(), set()
        self._script = self._style = None  # what has been read of an element's text
        self._skipped = ""  # the tag of an element that is left out

    def handle_starttag(self, tag, attrs):
        given = {name: value or "" for name, value in attrs}
        if self._skipped or any(each in given.values() for each in self.without):
            self._skipped = self._skipped or tag
            return
        self.handlers |= {value for name, value in given.items() if name.startswith("on")}
        self.outside |= set(_STYLED.findall(given.get("style", "")))
        if tag == "script" and "src" not in given:
            self._script = ""
            return
        if tag == "style":
            self._style = ""
        self._write(self._rehomed(tag, given))
        if tag == "head":
            self.pieces.append(_HEAD)
        elif tag == "body":
            self.pieces.append(self.body)

    handle_startendtag = handle_starttag

    def _rehomed(self, tag, given):
        """Return the tag's text with its addresses replaced; nothing where its address stands for nothing."""
        text, after = self.get_starttag_text(), ""
        names = _LOADED if tag in _LINKS else (*_LOADED, "href")
        for address in {given[name] for name in names if _OUTSIDE.match(given.get(name, ""))}:
            new = self.replaced.get(address)
            if new is None:
                self.outside.add(address)
                continue
            if not new.file:
                return ""
            text = text.replace(escape(address), new.file).replace(address, new.file)
            after += "".join(f'</script>\n<script src="{escape(each)}">' for each in new.followed_by)
        return text + after

    def handle_endtag(self, tag):
        if self._skipped:
            self._skipped = "" if tag == self._skipped else self._skipped
        elif self._script is not None and tag == "script":
            name = f"{_digest(self._script).hex()[:16]}.js"
            self.files[name] = self._script.encode()
            self.pieces.append(f'<script src="{self.folder}{name}"></script>')
            self._script = None
        else:
            if tag == "style" and self._style is not None:
                self.outside |= set(_STYLED.findall(self._style))
                self._style = None
            self._write(f"</{tag}>")

    def handle_data(self, data):
        if self._script is not None:
            self._script += data
            return
        if self._style is not None:
            self._style += data
        self._write(data)

    def _write(self, text):
        if not self._skipped:
            self.pieces.append(text)

    def handle_entityref(self, name):
        self._write(f"&{name};")

    def handle_charref(self, name):
        self._write(f"&#{name};")

    def handle_decl(self, decl):
        self._write(f"<!{decl}>")

    def handle_comment(self, data):
        """Leave comments out: some browsers read conditions in them."""
