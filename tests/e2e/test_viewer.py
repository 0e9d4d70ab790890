"""OHIF and Cornerstone3D in headless Chromium, on what the stack serves."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import urllib3
from pydicom.uid import generate_uid

from tests.dicom_files import SAMPLES
from tests.e2e.test_samples import send
from tests.eventually import eventually
from tests.instances import encode, make_dataset
from tests.looks import assert_looks_like, shown
from tests.services import require
from tests.viewer_studies import bundled, make_series, new_patient

# Each starts Chromium, some of them several times.
pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).parents[2]
STORESCU = "/usr/bin/storescu"
HTTP = urllib3.PoolManager()
SLICES = 12

# What the loader sends with every frame request.
FRAME_ACCEPT = "multipart/related; type=application/octet-stream; transfer-syntax=*"

# File, and the option that makes storescu propose its transfer syntax.
DECODED = {
    "CT_small.dcm": "-xe",
    "MR_small_bigendian.dcm": "-xb",
    "image_dfl.dcm": "-xd",
    "MR_small_RLE.dcm": "-xr",
    "MR_small_jp2klossless.dcm": "-xv",
    "MR_small_jpeg_ls_lossless.dcm": "-xt",
    "JPEG2000.dcm": "-xw",
    "rtdose.dcm": "-xi",
    "SC_rgb_small_odd.dcm": "-xe",
    "SC_rgb_rle_2frame.dcm": "-xr",
}
# pydicom has no decoder for JPEG-LS here, but the file's source.
SAME_PIXELS = {"MR_small_jpeg_ls_lossless.dcm": "MR_small.dcm"}


def store(stack: Any, option: str, *paths: Path) -> None:
    subprocess.run(
        [STORESCU, option, "-aec", "PACSLESS", "127.0.0.1", str(stack.dicom_port),
         *map(str, paths)],
        check=True, timeout=120,
    )  # fmt: skip


def drive(
    script: str, stack: Any, *arguments: str, wanted: object = None, provider: str = ""
) -> dict[str, Any]:
    """Run a driver of ``viewer/tests`` and return what it saw.

    `provider` is where the viewer signs in; it talks to nobody else.
    """
    require("node", "chromium")
    done = subprocess.run(
        ["node", str(ROOT / "viewer/tests" / script), "--url", stack.url, *arguments],
        input=json.dumps(wanted), capture_output=True, text=True, timeout=280,
        check=False,  # what failed is in the answer
    )  # fmt: skip
    assert done.stdout, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    assert seen["ok"], seen
    assert seen["failures"] == []
    assert [one for one in seen["foreign"] if not provider or not one.startswith(provider)] == []
    assert seen["errors"] == []
    return seen


def instance_path(ds: pydicom.Dataset) -> str:
    return (
        f"/dicom-web/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}"
        f"/instances/{ds.SOPInstanceUID}"
    )


def await_frames(stack: Any, *data_sets: pydicom.Dataset) -> None:
    for ds in data_sets:

        def served(path: str = instance_path(ds)) -> bool:
            answer = HTTP.request(
                "GET", f"{stack.url}{path}/frames/1", headers={"Accept": FRAME_ACCEPT}
            )
            return answer.status == 200

        eventually(served)


def await_study(stack: Any, study_uid: str, instances: int, token: str = "") -> None:
    signed = {"Authorization": f"Bearer {token}"} if token else {}

    def complete() -> bool:
        answer = HTTP.request(
            "GET",
            f"{stack.url}/dicom-web/studies",
            fields={"StudyInstanceUID": study_uid, "includefield": "00201208"},
            headers={"Accept": "application/dicom+json"} | signed,
        )
        found = answer.json() if answer.status == 200 else []
        return bool(found) and found[0]["00201208"]["Value"] == [instances]

    eventually(complete)


def decode(image: dict[str, Any]) -> np.ndarray[Any, Any]:
    kind = np.dtype(image["type"].removesuffix("Array").replace("Clamped", "").lower())
    values = np.frombuffer(base64.b64decode(image["data"]), dtype=kind.newbyteorder("<"))
    shape = (image["rows"], image["columns"])
    return values.reshape(shape if image["samplesPerPixel"] == 1 else (*shape, -1))


def compare(
    stack: Any, *data_sets: pydicom.Dataset, sources: dict[str, pydicom.Dataset] | None = None
) -> None:
    """Compare first and last frames with what pydicom reads from the file, or from its source."""
    await_frames(stack, *data_sets)
    wanted: list[dict[str, Any]] = []
    expected: list[np.ndarray[Any, Any]] = []
    for ds in data_sets:
        count = int(ds.get("NumberOfFrames") or 1)
        pixels = (sources or {}).get(ds.SOPInstanceUID, ds).pixel_array
        for frame in sorted({1, count}):
            wanted.append(
                {
                    "study": ds.StudyInstanceUID,
                    "series": ds.SeriesInstanceUID,
                    "instance": ds.SOPInstanceUID,
                    "frame": frame,
                }
            )
            expected.append(pixels if count == 1 else pixels[frame - 1])
    images = drive("pixels.mjs", stack, wanted=wanted)["images"]
    assert len(images) == len(expected)
    for one, image, pixels in zip(wanted, images, expected, strict=True):
        assert "error" not in image, (one, image)
        np.testing.assert_array_equal(decode(image), pixels, err_msg=str(one))
        assert (image["min"], image["max"]) == (pixels.min(), pixels.max())


def send_series(stack: Any, folder: Path) -> list[pydicom.Dataset]:
    """A CT series of several slices, no two alike, under a name that is nowhere else."""
    slices = make_series("CT_small.dcm", new_patient("Viewer"), SLICES)
    for index, ds in enumerate(slices):
        ds.save_as(folder / f"{index:02}.dcm", enforce_file_format=True)
    store(stack, "-xe", *sorted(folder.iterdir()))
    return slices


@pytest.fixture(scope="module")
def series(stack: Any, tmp_path_factory: pytest.TempPathFactory) -> list[pydicom.Dataset]:
    slices = send_series(stack, tmp_path_factory.mktemp("ct"))
    await_study(stack, slices[0].StudyInstanceUID, SLICES)
    return slices


def test_ohif_finds_and_opens_a_ct(
    stack: Any, series: list[pydicom.Dataset], tmp_path: Path
) -> None:
    patient, study = str(series[0].PatientID), series[0].StudyInstanceUID
    listed = drive(
        "study-list.mjs", stack, "--patient", patient, "--screenshot", str(tmp_path / "list.png")
    )
    assert listed["title"] == "Pacsless"
    [[row]] = listed["pages"]
    assert f"{patient}, CT" in row
    assert row.endswith(str(SLICES))
    seen = drive(
        "ohif.mjs", stack, "--study", study, "--scroll", "5",
        "--screenshot", str(tmp_path / "viewer.png"),
    )  # fmt: skip
    assert len(assert_looks_like(seen["looks"], shown(*series))) == 6
    assert seen["crossOriginIsolated"], "the decoders' workers need shared memory"
    # Its tool bar is the one app-config.js changes.
    segmentation = drive("ohif.mjs", stack, "--study", study, "--mode", "segmentation")
    assert_looks_like(segmentation["looks"], shown(*series))
    for picture in ("list.png", "viewer.png"):
        assert (tmp_path / picture).stat().st_size > 10_000


def test_ohif_uploads(stack: Any, tmp_path: Path) -> None:
    patient = new_patient("Upload")
    study, series_uid = generate_uid(), generate_uid()
    files = []
    for number in range(1, 4):
        files.append(tmp_path / f"{number}.dcm")
        ds = make_dataset(
            b"\0\1" * 4, PatientName=f"{patient}^By", InstanceNumber=number,
            StudyInstanceUID=study, SeriesInstanceUID=series_uid,
        )  # fmt: skip
        files[-1].write_bytes(encode(ds))
    seen = drive(
        "upload.mjs", stack, "--files", ",".join(map(str, files)),
        "--screenshot", str(tmp_path / "upload.png"),
    )  # fmt: skip
    assert seen["answers"] == [200, 200, 200]
    assert (tmp_path / "upload.png").stat().st_size > 10_000
    await_study(stack, study, len(files))
    [[row]] = drive("study-list.mjs", stack, "--patient", patient)["pages"]
    assert f"{patient}, By" in row


def test_the_browser_decodes_the_values_of_the_ct(
    stack: Any, series: list[pydicom.Dataset]
) -> None:
    compare(stack, *series)


def test_the_browser_decodes_what_pydicom_reads(stack: Any, tmp_path: Path) -> None:
    sent: list[pydicom.Dataset] = []
    sources: dict[str, pydicom.Dataset] = {}
    for name, option in DECODED.items():
        ds = pydicom.dcmread(bundled(name))
        # Several of these files share their SOP Instance UID, and other tests send them too.
        ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        ds.save_as(tmp_path / name)
        store(stack, option, tmp_path / name)
        sent.append(pydicom.dcmread(tmp_path / name))
        if name in SAME_PIXELS:
            sources[ds.SOPInstanceUID] = pydicom.dcmread(bundled(SAME_PIXELS[name]))
    compare(stack, *sent, sources=sources)


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="needs ../shared/dicom-samples")
def test_the_browser_decodes_the_values_of_a_real_ct(stack: Any) -> None:
    files = sorted((SAMPLES / "series/ct-lidc-idri-0314").rglob("*.dcm"))[::16]
    assert files
    # As they are: other tests send the whole series too, and DCMTK would write them anew.
    summary = send(stack, *files)
    assert {one["status"] for one in summary["files"]} == {0}
    compare(stack, *(pydicom.dcmread(file) for file in files))
