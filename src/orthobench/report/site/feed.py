"""The changes of the published results as an Atom feed (RFC 4287)."""

from xml.etree import ElementTree

from orthobench.report.site.documents import AUTHOR

NAMESPACE = "http://www.w3.org/2005/Atom"
NEVER = "1970-01-01T00:00:00Z"  # a feed must say when it was updated


def feed(changes, documents):
    """Return the feed as bytes.

    Parameters
    ----------
    changes : Changes
    documents : Documents
        For where the site and the commits are published.
    """
    ElementTree.register_namespace("", NAMESPACE)
    root = ElementTree.Element(f"{{{NAMESPACE}}}feed")
    place, page = f"{documents.site}changes.xml", f"{documents.site}changes.html"
    _text(root, "id", place)
    _text(root, "title", "OrthoBench: changes of the published results")
    if changes.lack:
        _text(root, "subtitle", f"not checked: {changes.lack}")
    _text(root, "updated", max((each.date for each in changes.listed), default=NEVER))
    _text(ElementTree.SubElement(root, f"{{{NAMESPACE}}}author"), "name", AUTHOR)
    _link(root, "self", place)
    _link(root, "alternate", page)
    for each in changes.listed:
        entry = ElementTree.SubElement(root, f"{{{NAMESPACE}}}entry")
        _text(entry, "id", documents.commit(each.commit))
        _text(entry, "title", each.subject or each.commit)
        _text(entry, "updated", each.date)
        _link(entry, "alternate", f"{page}#{each.anchor}")
        _link(entry, "related", documents.commit(each.commit))
        _text(entry, "content", "\n".join(_told(each)))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def _told(change):
    for each in change.moves:
        yield f"{each.judged.verdict.claim.id}: {each.before} -> {each.after}"
    if not change.moves and not change.rules:
        yield "No verdict moved."
    for kind, path in change.files:
        yield f"{kind}: {path}"


def _text(parent, name, text):
    ElementTree.SubElement(parent, f"{{{NAMESPACE}}}{name}").text = text


def _link(parent, relation, address):
    ElementTree.SubElement(parent, f"{{{NAMESPACE}}}link", rel=relation, href=address)
