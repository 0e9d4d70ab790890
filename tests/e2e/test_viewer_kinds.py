"""What OHIF shows beside a CT: MR, frames, colour and documents; and a list of many studies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom.dataset import Dataset

from tests.e2e.test_viewer import await_study, drive
from tests.eventually import eventually
from tests.instances import make_dataset
from tests.looks import assert_looks_like, assert_reads, shown
from tests.viewer_studies import (
    CINE,
    COLOUR,
    MR,
    make_document,
    make_enhanced_mr,
    make_pdf,
    make_series,
    new_patient,
    renamed,
    with_meta,
)

# Each starts Chromium.
pytestmark = pytest.mark.timeout(900)

PAGE = 50
BEYOND_A_SEARCH = 110
"""More studies than OHIF asks for unless it is configured (101)."""


def client(stack: Any) -> DICOMwebClient:
    return DICOMwebClient(f"{stack.url}/dicom-web")


def look(
    stack: Any, data_sets: list[Dataset], tmp_path: Path, scroll: int = 0
) -> list[dict[str, Any]]:
    """Store a study, open it and scroll; return what was in the viewport each time."""
    study = str(data_sets[0].StudyInstanceUID)
    client(stack).store_instances(data_sets)
    await_study(stack, study, len(data_sets))
    screenshot = tmp_path / "viewer.png"
    seen = drive(
        "ohif.mjs", stack, "--study", study, "--scroll", str(scroll),
        "--screenshot", str(screenshot),
    )  # fmt: skip
    assert screenshot.stat().st_size > 10_000
    looks: list[dict[str, Any]] = seen["looks"]
    assert len(looks) == scroll + 1
    return looks


def test_ohif_scrolls_an_mr(stack: Any, tmp_path: Path) -> None:
    slices = make_series(MR, new_patient("Slices"), 6)
    looks = look(stack, slices, tmp_path, scroll=5)
    assert_looks_like(looks, shown(*slices))
    assert {one["coloured"] for one in looks} == {0}


def test_ohif_scrolls_an_enhanced_mr(stack: Any, tmp_path: Path) -> None:
    """Native frames, their places and window in functional groups."""
    enhanced = make_enhanced_mr(new_patient("Enhanced"), 8)
    looks = look(stack, [enhanced], tmp_path, scroll=7)
    assert_looks_like(looks, shown(enhanced))


def test_ohif_scrolls_a_compressed_cine(stack: Any, tmp_path: Path) -> None:
    """JPEG Baseline, YBR_FULL_422."""
    cine = renamed(CINE, new_patient("Cine"))
    looks = look(stack, [cine], tmp_path, scroll=6)
    assert assert_looks_like(looks, shown(cine)) == [
        f"{cine.SOPInstanceUID}/frames/{number}" for number in range(1, 8)
    ]


def test_ohif_shows_colour(stack: Any, tmp_path: Path) -> None:
    colour = renamed(COLOUR, new_patient("Colour"))
    [seen] = look(stack, [colour], tmp_path)
    [(name, frame)] = shown(colour).items()
    assert_looks_like([seen], {name: frame, "red is blue": frame[..., ::-1]})
    assert seen["coloured"] > 0.02


@pytest.mark.parametrize(
    ("padding", "address"), [(0, "blob:"), (200_000, "/dicom-web/")], ids=["metadata", "rendered"]
)
def test_ohif_reads_a_pdf(stack: Any, tmp_path: Path, padding: int, address: str) -> None:
    """A little one comes with the metadata, a larger one from the resource Rendered Instance."""
    pdf = make_pdf("Report", padding)
    [seen] = look(stack, [make_document(new_patient("Document"), pdf)], tmp_path)
    assert seen["address"].startswith(address)
    assert_reads(seen, pdf)


def test_ohif_turns_the_pages_of_the_study_list(stack: Any, tmp_path: Path) -> None:
    patient = new_patient("Paged")
    studies = [
        with_meta(make_dataset(b"\0\1" * 4, PatientName=f"{patient}^Nr{number}", PatientID=patient))
        for number in range(BEYOND_A_SEARCH)
    ]
    client(stack).store_instances(studies)

    def found() -> bool:
        answer = client(stack).search_for_studies(search_filters={"PatientID": patient})
        return len(answer) == BEYOND_A_SEARCH

    eventually(found)
    pages = drive("study-list.mjs", stack, "--patient", patient, "--studies", str(BEYOND_A_SEARCH))[
        "pages"
    ]
    assert [len(page) for page in pages] == [PAGE, PAGE, BEYOND_A_SEARCH - 2 * PAGE]
    names = [row.split()[1] for page in pages for row in page]
    assert sorted(names) == sorted(f"Nr{number}" for number in range(BEYOND_A_SEARCH)), pages[0][:3]
