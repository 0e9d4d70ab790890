"""Write the two documents into a folder: ``python -m pacsless.capabilities schemas/dicomweb``."""

from __future__ import annotations

import sys
from pathlib import Path

from pacsless.capabilities.documents import documents

for _name, _text in documents().items():
    (Path(sys.argv[1]) / _name).write_text(_text)
