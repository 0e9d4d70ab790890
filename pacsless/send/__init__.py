"""``pacsless send``: C-STORE of files and folders, their data sets untouched."""

from pacsless.send.files import Skipped
from pacsless.send.sending import FileResult, Options, Summary, send_paths

__all__ = ["FileResult", "Options", "Skipped", "Summary", "send_paths"]
