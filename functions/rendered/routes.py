"""The rendered resources of WADO-RS, each with the clause that specifies it."""

from __future__ import annotations

from typing import Final

from functions.rendered import retrieve
from functions.rendered.capabilities import rendered, thumbnail
from pacsless.web import Route

_STUDY: Final = "/studies/<uid:study>"
_SERIES: Final = f"{_STUDY}/series/<uid:series>"
_INSTANCE: Final = f"{_SERIES}/instances/<uid:sop>"
_FRAMES: Final = f"{_INSTANCE}/frames/<frames>"

ROUTES: Final = [
    *(
        Route("GET", f"{resource}/rendered", handler, "PS3.18 §10.4.1.1.3", rendered(level))
        for level, resource, handler in (
            ("Study", _STUDY, retrieve.retrieve_rendered_study),
            ("Series", _SERIES, retrieve.retrieve_rendered_series),
            ("Instance", _INSTANCE, retrieve.retrieve_rendered_instance),
            ("Frames", _FRAMES, retrieve.retrieve_rendered_frames),
        )
    ),
    *(
        Route("GET", f"{resource}/thumbnail", handler, "PS3.18 §10.4.1.1.4", thumbnail(level))
        for level, resource, handler in (
            ("Study", _STUDY, retrieve.retrieve_thumbnail_study),
            ("Series", _SERIES, retrieve.retrieve_thumbnail_series),
            ("Instance", _INSTANCE, retrieve.retrieve_thumbnail_instance),
            ("Frame", _FRAMES, retrieve.retrieve_thumbnail_frames),
        )
    ),
]
