"""The resources of WADO-RS, each with the clause that specifies it (PS3.18 Table 10.4.1-1).

The function rendered answers for rendered resources and thumbnails.
"""

from __future__ import annotations

from typing import Final

from functions.wado_rs import capabilities
from functions.wado_rs.bulk_data import retrieve_bulk_data
from functions.wado_rs.frames import retrieve_frames
from functions.wado_rs.metadata import (
    retrieve_instance_metadata,
    retrieve_series_metadata,
    retrieve_study_metadata,
)
from functions.wado_rs.retrieve import retrieve_instance, retrieve_series, retrieve_study
from pacsless.web import Route

_STUDY: Final = "/studies/<uid:study>"
_SERIES: Final = f"{_STUDY}/series/<uid:series>"
_INSTANCE: Final = f"{_SERIES}/instances/<uid:sop>"
_FRAMES: Final = f"{_INSTANCE}/frames/<frames>"

ROUTES: Final = [
    Route("GET", _STUDY, retrieve_study, "PS3.18 §10.4.1.1.1", capabilities.STUDY),
    Route("GET", _SERIES, retrieve_series, "PS3.18 §10.4.1.1.1", capabilities.SERIES),
    Route("GET", _INSTANCE, retrieve_instance, "PS3.18 §10.4.1.1.1", capabilities.INSTANCE),
    *(
        Route("GET", f"{resource}/metadata", retrieve, "PS3.18 §10.4.1.1.2", about)
        for resource, retrieve, about in (
            (_STUDY, retrieve_study_metadata, capabilities.metadata("Study")),
            (_SERIES, retrieve_series_metadata, capabilities.metadata("Series")),
            (_INSTANCE, retrieve_instance_metadata, capabilities.metadata("Instance")),
        )
    ),
    Route(
        "GET",
        f"{_INSTANCE}/bulkdata/<path:path>",
        retrieve_bulk_data,
        "PS3.18 §10.4.1.1.5",
        capabilities.BULK_DATA,
    ),
    Route("GET", _FRAMES, retrieve_frames, "PS3.18 §10.4.1.1.6", capabilities.FRAMES),
]
