"""The index of an instance's frames: made once, by walking through its fragments.

It says nothing but what the original says, so a repetition finds the same bytes.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from pacsless.dicom.fragments import FAR_APART
from pacsless.dicom.frame_index import is_whole_index, write_index
from pacsless.dicom.frames import locate_frames
from pacsless.errors import Busy, NotFound, Unprocessable
from pacsless.events import InstanceFrameIndexRequested

if TYPE_CHECKING:
    from pacsless.archive import Archive, Stat

_log: Final = logging.getLogger(__name__)
_AHEAD: Final = 4 << 20
"""Bytes of one read where it is a request: a header in each 100 KB is 40 requests less."""


def make_frame_index(request: InstanceFrameIndexRequested, archive: Archive) -> None:
    """Carry out a request; without an index, readers look for frames themselves.

    Raises
    ------
    Unavailable
        If the archive does not answer: the request is to be tried again.
    Busy
        If the instance was deleted meanwhile, and stored again.
    """
    identity = request.identity
    original = archive.stat(identity.key)
    if original is None or _is_there(archive, identity.frame_index_key, original):
        return
    ahead = FAR_APART if archive.is_local else _AHEAD
    try:
        with archive.open(identity.key, original) as file:
            table = locate_frames(file, ahead)
    except NotFound:
        return
    except Unprocessable as error:
        # It is as its sender made it; who asks for a frame is told the same.
        fields = {"instance": identity.subject, "code": error.code}
        _log.warning("frames cannot be told apart", extra={"fields": fields})
        return
    if table.records is None:
        return
    index = write_index(table, original.size, original.modified)
    archive.replace(identity.frame_index_key, index)
    now = archive.stat(identity.key)
    if now is None:
        # Who deleted it may have looked for what is derived from it before this was there.
        archive.remove(identity.frame_index_key)
    elif (now.size, now.modified) != (original.size, original.modified):
        raise Busy("replaced", "the instance was deleted while its frames were looked for")


def _is_there(archive: Archive, key: str, original: Stat) -> bool:
    try:
        with archive.open(key) as file:
            return is_whole_index(file.read(), original.size, original.modified)
    except NotFound:
        return False
