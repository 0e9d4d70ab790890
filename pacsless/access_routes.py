"""Names of transactions, from methods and paths as nginx logs them."""

from __future__ import annotations

import re
from typing import Final

from pacsless.errors import InvalidIdentity
from pacsless.identity import valid_uid

_ROOT: Final = re.compile(r"(?:/tenants/[^/]+)?/dicom-web(?=/|$)")
_RESOURCE: Final = re.compile(
    r"/studies(?:/(?P<study>[^/]+))?"
    r"(?:/series(?:/(?P<series>[^/]+))?)?"
    r"(?:/instances(?:/(?P<instance>[^/]+))?)?"
    r"(?P<rest>(?:/(?:metadata|rendered|thumbnail|frames|bulkdata)(?:/.*)?)?)"
)
_FIXED: Final = {
    "/series": "search_series", "/instances": "search_instances",
    "/changefeed": "read_change_feed", "/changefeed/latest": "read_latest_change",
    "/openapi.json": "retrieve_openapi_document",
}  # fmt: skip
_WADO: Final = re.compile(r"(?:/tenants/[^/]+)?(?:/dicom-web)?/wado/?")
_ORTHANC: Final = re.compile(r"(?:/tenants/[^/]+)?(?:/dicom-web)?/orthanc(?:/.*)?")
_PLURAL: Final = {"study": "studies", "series": "series", "instance": "instances"}


def route_of(method: str, path: str) -> tuple[str, tuple[str, str, str]]:
    """Name the transaction of a DICOMweb request, and the object it is about.

    Parameters
    ----------
    method
        HTTP method.
    path
        Path from the service root's slash on, without the query.

    Returns
    -------
    tuple
        The route, ``other`` if it is none of DICOMweb's, and study, series and
        SOP instance UID, empty where the path has none or no valid one.

    Examples
    --------
    >>> route_of("GET", "/dicom-web/studies/1.2/series/1.3/metadata")
    ('retrieve_series_metadata', ('1.2', '1.3', ''))
    >>> route_of("GET", "/tenants/north/dicom-web/studies/1.2/instances")
    ('search_instances', ('1.2', '', ''))
    """
    if _WADO.fullmatch(path):
        return "retrieve_wado_uri", ("", "", "")
    if _ORTHANC.fullmatch(path):
        return "orthanc", ("", "", "")
    root = _ROOT.match(path)
    resource = path[root.end() :].rstrip("/") if root else ""
    found = _RESOURCE.fullmatch(resource)
    if root and not resource and method == "OPTIONS":
        return "retrieve_capabilities", ("", "", "")
    if resource in _FIXED or not found:
        return _FIXED.get(resource, "other"), ("", "", "")
    about = uids(*(found[level] or "" for level in _PLURAL))
    named = [level for level in _PLURAL if found[level]]
    if method == "POST":
        stored_to = ["/studies"] + [f"/studies/{found['study']}"] * (named == ["study"])
        return "store_instances" if resource in stored_to else "other", about
    last = resource.rpartition("/")[2]
    if method == "DELETE":
        plain = named and not found["rest"] and last not in _PLURAL.values()
        return f"delete_{named[-1]}" if plain else "other", about
    if not found["rest"] and last in _PLURAL.values():
        return f"search_{last}", about
    if not named:
        return "other", about
    kind = found["rest"].partition("/")[2].split("/")
    match kind[0]:
        case "":
            return f"retrieve_{named[-1]}", about
        case "frames":
            made = f"{kind[-1]}_" if kind[-1] in ("rendered", "thumbnail") else ""
            return f"retrieve_{made}frames", about
        case "bulkdata":
            return "retrieve_bulkdata", about
        case "metadata":
            return f"retrieve_{named[-1]}_metadata", about
        case _:
            return f"retrieve_{kind[0]}_{named[-1]}", about


def uids(study: str, series: str, instance: str) -> tuple[str, str, str]:
    """Return three UIDs; what is no UID is empty."""
    return _uid(study), _uid(series), _uid(instance)


def _uid(text: str) -> str:
    try:
        return valid_uid(text)
    except InvalidIdentity:
        return ""
