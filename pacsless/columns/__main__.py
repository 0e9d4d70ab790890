"""Writes the Doris DDL."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from pacsless.columns import doris_files


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the Doris DDL into a folder, or to standard output."""
    parser = argparse.ArgumentParser(prog="python -m pacsless.columns", description=main.__doc__)
    parser.add_argument("--write", type=Path, metavar="FOLDER")
    parser.add_argument("--replication-num", type=int, default=1, metavar="COPIES")
    options = parser.parse_args(arguments)
    files = doris_files(options.replication_num)
    if options.write is None:
        print("\n".join(files.values()))
        return
    options.write.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (options.write / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
