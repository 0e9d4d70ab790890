"""What WADO-URI can, for those who ask."""

from __future__ import annotations

from typing import Final

from pacsless.capabilities import ANNOTATION, Capability, Parameter
from pacsless.negotiation import DICOM, Representation
from pacsless.rendering.parameters import MAX_SIDE
from pacsless.rendering.picture import PICTURES
from pacsless.rendering.report import REPORTS
from pacsless.representations import DOCUMENTS, VIDEOS

DICOM_ALONE: Final = Representation(DICOM)

_UID: Final = {"type": "string", "pattern": "^[0-9.]{1,64}$"}
_SIDE: Final = {"type": "integer", "minimum": 1, "maximum": MAX_SIDE}

WADO_URI: Final = Capability(
    "Retrieve Instance by WADO-URI",
    (
        *PICTURES,
        DICOM_ALONE,
        *REPORTS,
        *(Representation(one) for one in (*DOCUMENTS, *VIDEOS)),
    ),
    (
        Parameter("requestType", "WADO; required.", {"type": "string", "const": "WADO"}),
        Parameter("studyUID", "Study Instance UID; required.", _UID),
        Parameter("seriesUID", "Series Instance UID; required.", _UID),
        Parameter("objectUID", "SOP Instance UID; required.", _UID),
        Parameter(
            "contentType",
            "Media types with commas between them, instead of the header field Accept.",
            {"type": "string", "examples": ["application/dicom"]},
        ),
        Parameter("charset", "Of text, which is utf-8.", {"type": "string"}),
        Parameter(
            "anonymize",
            "Without who the patient is, as far as docs/wado-uri.md tells.",
            {"type": "string", "const": "yes"},
        ),
        Parameter("transferSyntax", "Of application/dicom, if not as it is stored.", _UID),
        Parameter("frameNumber", "From 1.", {"type": "integer", "minimum": 1}),
        ANNOTATION,
        Parameter("rows", "Pixels the picture fits in, from top to bottom.", _SIDE),
        Parameter("columns", "Pixels the picture fits in, from left to right.", _SIDE),
        Parameter(
            "region",
            "What is shown, in shares of the image: xmin,ymin,xmax,ymax.",
            {"type": "string", "examples": ["0.25,0.25,0.75,0.75"]},
        ),
        Parameter("windowCenter", "With windowWidth.", {"type": "number"}),
        Parameter("windowWidth", "With windowCenter.", {"type": "number", "minimum": 1}),
        Parameter("imageQuality", "Of JPEG.", {"type": "integer", "minimum": 1, "maximum": 100}),
    ),
    (206, 304, 406, 416),
)
