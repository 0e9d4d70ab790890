"""The rendered resources of WADO-RS, each with the clause that specifies it."""

from __future__ import annotations

from typing import Final

from functions.rendered import retrieve
from functions.rendered.capabilities import rendered, thumbnail
from pacsless.web import FRAMES, INSTANCE, SERIES, STUDY, Route

ROUTES: Final = [
    *(
        Route("GET", f"{resource}/rendered", handler, "PS3.18 §10.4.1.1.3", rendered(level))
        for level, resource, handler in (
            ("Study", STUDY, retrieve.retrieve_rendered_study),
            ("Series", SERIES, retrieve.retrieve_rendered_series),
            ("Instance", INSTANCE, retrieve.retrieve_rendered_instance),
            ("Frames", FRAMES, retrieve.retrieve_rendered_frames),
        )
    ),
    *(
        Route("GET", f"{resource}/thumbnail", handler, "PS3.18 §10.4.1.1.4", thumbnail(level))
        for level, resource, handler in (
            ("Study", STUDY, retrieve.retrieve_thumbnail_study),
            ("Series", SERIES, retrieve.retrieve_thumbnail_series),
            ("Instance", INSTANCE, retrieve.retrieve_thumbnail_instance),
            ("Frame", FRAMES, retrieve.retrieve_thumbnail_frames),
        )
    ),
]
