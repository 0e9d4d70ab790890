"""A plain pynetdicom Storage SCP that stores durably: ``pynetdicom_scp.py PORT FOLDER``.

What a careful user of the library writes: nothing is decoded, and a success
means that file and name are on the disk.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt
from pynetdicom.dimse_primitives import C_STORE


def store(event: evt.Event, folder: Path) -> int:
    """Write, fsync, rename, fsync the folder; 0x0000 is Success (PS3.4 §B.2.3)."""
    assert isinstance(event.request, C_STORE)
    uid = str(event.request.AffectedSOPInstanceUID)
    temporary = folder / f".{uid}"
    with open(temporary, "wb") as file:
        file.write(event.encoded_dataset())
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(folder / f"{uid}.dcm")
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return 0x0000


def main() -> None:
    """Serve until ended."""
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    ae = AE("PACSLESS")
    ae.maximum_associations = 64
    ae.maximum_pdu_size = 131072
    for context in AllStoragePresentationContexts:
        assert context.abstract_syntax is not None
        ae.add_supported_context(context.abstract_syntax, ALL_TRANSFER_SYNTAXES)
    ae.start_server(("127.0.0.1", port), evt_handlers=[(evt.EVT_C_STORE, store, [folder])])


if __name__ == "__main__":
    main()
