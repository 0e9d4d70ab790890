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
from pacsless.web import FRAMES, INSTANCE, SERIES, STUDY, Route

ROUTES: Final = [
    Route("GET", STUDY, retrieve_study, "PS3.18 §10.4.1.1.1", capabilities.STUDY),
    Route("GET", SERIES, retrieve_series, "PS3.18 §10.4.1.1.1", capabilities.SERIES),
    Route("GET", INSTANCE, retrieve_instance, "PS3.18 §10.4.1.1.1", capabilities.INSTANCE),
    *(
        Route("GET", f"{resource}/metadata", retrieve, "PS3.18 §10.4.1.1.2", about)
        for resource, retrieve, about in (
            (STUDY, retrieve_study_metadata, capabilities.metadata("Study")),
            (SERIES, retrieve_series_metadata, capabilities.metadata("Series")),
            (INSTANCE, retrieve_instance_metadata, capabilities.metadata("Instance")),
        )
    ),
    Route(
        "GET",
        f"{INSTANCE}/bulkdata/<path:path>",
        retrieve_bulk_data,
        "PS3.18 §10.4.1.1.5",
        capabilities.BULK_DATA,
    ),
    Route("GET", FRAMES, retrieve_frames, "PS3.18 §10.4.1.1.6", capabilities.FRAMES),
]
