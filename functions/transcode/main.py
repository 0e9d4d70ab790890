"""conversion_queue → renditions, conversion_log_queue: what viewers cannot read, made readable."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from functions.transcode.rendition import make_rendition
from pacsless.archive import Archive
from pacsless.codec import Delivered
from pacsless.events import Event, InstanceConversionRequested
from pacsless.handler import handles


@handles(InstanceConversionRequested)
def transcode(
    batch: Sequence[Delivered[InstanceConversionRequested]], archive: Archive
) -> Iterable[Event]:
    """Make the renditions asked for, each once."""
    made = (make_rendition(one.event, archive) for one in batch)
    return [one for one in made if one is not None]
