"""Reading DICOM: pure functions over bytes and files, no network, no database.

Importing the package teaches pydicom the transfer syntaxes it does not know.
"""

from pacsless.dicom import transfer_syntaxes as transfer_syntaxes
