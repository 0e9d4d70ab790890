"""Tables of the web services, from the functions' routes."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Final

from pacsless.capabilities import ANY_REQUEST, STATUSES, Parameter
from pacsless.capabilities.documents import described
from pacsless.dicom.transfer_syntaxes import STORABLE
from pacsless.negotiation import Representation
from pacsless.readme import markdown
from pacsless.rendering.parameters import MAX_SIDE
from scp_gateway.presentation import STORAGE

_NONE: Final = "–"


def overview() -> str:
    """Every service, and how the product takes part in it."""
    carried = f"{len(STORAGE)} SOP classes, {len(STORABLE)} transfer syntaxes"
    rows = [
        ("Verification", "C-ECHO", "SCP", ""),
        ("Storage", "C-STORE", "SCP", carried),
        ("Storage Commitment Push Model", "N-ACTION, N-EVENT-REPORT", "SCP", ""),
    ]
    found: dict[str, list[str]] = {}
    for one in described():
        found.setdefault(one.clause, []).append(one.capability.summary)
    rows += [
        (clause, "HTTP", "origin server", ", ".join(summaries))
        # What is no service of DICOM's comes last.
        for clause, summaries in sorted(
            found.items(), key=lambda one: (not one[0].startswith("PS3."), one[0])
        )
    ]
    rows.append(("Media Storage", _NONE, "none", ""))
    return markdown(("service", "by", "role", ""), rows)


def resources() -> str:
    """Every resource and its methods."""
    return markdown(
        ("transaction", "method and resource", "specified in", "by", "statuses"),
        [
            (
                one.capability.summary,
                f"`{one.method} {one.path}`",
                one.clause,
                one.function,
                ", ".join(map(str, sorted({*one.capability.succeeded, *one.capability.statuses}))),
            )
            for one in described()
        ],
    )


def media_types() -> str:
    """What each transaction takes and sends; those that are alike share a row."""
    found: dict[tuple[str, ...], list[str]] = {}
    for one in described():
        about = one.capability
        taken = about.body.representations if about.body else ()
        told = (
            _ranges(about.representations, multipart=True),
            _ranges(about.representations, multipart=False),
            _ranges(taken, multipart=True),
            _ranges(taken, multipart=False),
        )
        found.setdefault(told, []).append(about.summary)
    columns = ("transaction", "sent as `multipart/related` of", "sent alone")
    return markdown(
        (*columns, "taken as `multipart/related` of", "taken alone"),
        [(_whose(summaries), *told) for told, summaries in found.items()],
    )


def _ranges(representations: Iterable[Representation], *, multipart: bool) -> str:
    types = [one.media_type for one in representations if one.multipart is multipart]
    return ", ".join(f"`{one}`" for one in types) or _NONE


def parameters() -> str:
    """Query parameters; matching keys have a table of their own."""
    found: dict[tuple[str, str], list[str]] = {}
    for one in described():
        for each in one.capability.parameters:
            if not _is_attribute(each.name):
                known = found.setdefault((each.name, _said(each)), [])
                known.append(one.capability.summary)
    rows = [(f"`{name}`", said, _whose(summaries)) for (name, said), summaries in found.items()]
    return markdown(("parameter", "", "of"), rows)


def _is_attribute(name: str) -> bool:
    """Whether it is a keyword: those of parameters begin with a small letter."""
    return name[0].isupper()


def _said(parameter: Parameter) -> str:
    default = parameter.schema.get("default")
    return parameter.description + ("" if default is None else f" Default {_value(default)}.")


def _value(value: object) -> str:
    return str(value).lower()


def _whose(summaries: Iterable[str]) -> str:
    """Name transactions, those of one function that are all there by the function."""
    of: dict[str, list[str]] = {}
    for one in described():
        of.setdefault(one.function, []).append(one.capability.summary)
    named = set(summaries)
    found = []
    for function, everything in of.items():
        ours = [one for one in everything if one in named]
        found += [f"all of {function}"] if len(ours) == len(everything) > 1 else ours
    return ", ".join(found)


def statuses() -> str:
    """Every status, and what it means."""
    rows = [
        (status, meaning, "any" if status in ANY_REQUEST else "as listed")
        for status, meaning in STATUSES.items()
    ]
    return markdown(("status", "", "transactions"), rows)


def limits() -> str:
    """What a request may ask for or bring."""
    query = import_module("functions.qido_rs.query")
    pictures = import_module("functions.rendered.retrieve")
    stow = import_module("functions.stow_rs.storing").StowSettings()
    return markdown(
        ("", "at most", "setting"),
        [
            ("results of a search", f"{query.MOST_ANYWHERE:,}", _NONE),
            ("results of a search below a study", f"{query.MOST_WITHIN_STUDY:,}", _NONE),
            ("side of a rendered picture", f"{MAX_SIDE:,} pixels", _NONE),
            ("pictures of one answer", f"{pictures.MAX_PARTS:,}", _NONE),
            ("instance stored", f"{stow.max_object_mb:,} MiB", f"`{stow.PREFIX}MAX_OBJECT_MB`"),
            ("parts of a store request", f"{stow.max_parts:,}", f"`{stow.PREFIX}MAX_PARTS`"),
            (
                "what a tenant stores to one process at a time",
                f"{stow.max_tenant_mb:,} MiB",
                f"`{stow.PREFIX}MAX_TENANT_MB`",
            ),
        ],
    )


def matching_keys() -> str:
    """What searches match, and how."""
    qido = import_module("functions.qido_rs.attributes")
    rows = []
    for path, key in qido.KEYS.items():
        tags = [f"({one[:4]},{one[4:]})" for one in path.split(".")]
        keywords = ".".join(map(qido.keyword_of, path.split(".")))
        rows.append((keywords, " > ".join(tags), key.level.value, key.kind.value))
    return markdown(("attribute", "tag", "from level", "matching"), sorted(rows))


def return_attributes() -> str:
    """What every answer of a search has."""
    qido = import_module("functions.qido_rs.attributes")

    def named(tags: Iterable[str]) -> str:
        return ", ".join(map(qido.keyword_of, tags))

    return markdown(
        ("level", "always", "if the instance states them"),
        [
            (level.value, named(qido.REQUIRED[level]), named(qido.IF_KNOWN[level]))
            for level in qido.Level
        ],
    )
