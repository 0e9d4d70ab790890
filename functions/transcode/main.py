"""conversion_queue → renditions, frame indexes, conversion_log_queue: originals made readable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from functions.transcode.frame_index import make_frame_index
from functions.transcode.rendition import make_rendition
from pacsless.archive import Archive
from pacsless.codec import Delivered
from pacsless.events import Event, InstanceConversionRequested, InstanceFrameIndexRequested
from pacsless.handler import handles


@handles(InstanceConversionRequested, InstanceFrameIndexRequested)
def transcode(
    batch: Sequence[Delivered[InstanceConversionRequested | InstanceFrameIndexRequested]],
    archive: Archive,
) -> Iterator[Event]:
    """Make the renditions and indexes asked for, each once."""
    for one in batch:
        if isinstance(one.event, InstanceFrameIndexRequested):
            make_frame_index(one.event, archive)
        elif (made := make_rendition(one.event, archive)) is not None:
            yield made
