"""The tables of the Conformance Statement (PS3.2), made from what they are about.

``python -m scp_gateway.conformance docs/conformance.md`` writes each between its
two markers. It is here because nothing else knows both services: the gateway's
negotiation by import, the functions' routes as `pacsless.capabilities.documents`
finds them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from pacsless.readme import fill
from scp_gateway.conformance import dimse, web

SECTIONS: Final[Mapping[str, Callable[[], str]]] = {
    "services": web.overview,
    "sop-classes": dimse.sop_classes,
    "transfer-syntaxes": dimse.transfer_syntaxes,
    "implementation": dimse.implementation,
    "association-limits": dimse.association_limits,
    "store-statuses": dimse.store_statuses,
    "commitment-limits": dimse.commitment_limits,
    "action-statuses": dimse.action_statuses,
    "failure-reasons": dimse.failure_reasons,
    "resources": web.resources,
    "media-types": web.media_types,
    "parameters": web.parameters,
    "http-statuses": web.statuses,
    "web-limits": web.limits,
    "matching-keys": web.matching_keys,
    "return-attributes": web.return_attributes,
    "character-sets": dimse.character_sets,
}
"""Every table, by the name in its markers."""


def filled(text: str) -> str:
    """Put every table into the text of the statement.

    Raises
    ------
    ValueError
        If a marker is missing.
    """
    for name, made in SECTIONS.items():
        text = fill(text, made(), f"<!-- {name}: made by `make docs` -->", f"<!-- /{name} -->")
    return text
