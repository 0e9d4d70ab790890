"""The resources instances are stored to (PS3.18 Table 10.5.1-1), and deleted by."""

from __future__ import annotations

from typing import Final

from functions.stow_rs import capabilities
from functions.stow_rs.delete import delete_instance, delete_series, delete_study
from functions.stow_rs.orthanc import store_orthanc_instance
from functions.stow_rs.store import store_instances
from pacsless.web import INSTANCE, SERIES, STUDY, Route

# DICOM has no transaction for it.
_DELETE: Final = "docs/delete.md"

ROUTES: Final = (
    Route("POST", "/studies", store_instances, "PS3.18 §10.5", capabilities.STUDIES),
    Route("POST", STUDY, store_instances, "PS3.18 §10.5", capabilities.STUDY),
    Route("DELETE", STUDY, delete_study, _DELETE, capabilities.delete("Study")),
    Route("DELETE", SERIES, delete_series, _DELETE, capabilities.delete("Series")),
    Route("DELETE", INSTANCE, delete_instance, _DELETE, capabilities.delete("Instance")),
    Route(
        "POST",
        "/orthanc/instances",
        store_orthanc_instance,
        "docs/orthanc.md",
        capabilities.ORTHANC,
    ),
)
