"""``python -m pacsless``."""

from pacsless.cli import main

main(prog_name="pacsless")
