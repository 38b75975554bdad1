"""A miniature of RICORD-1C as its holders have it: DICOM tree, spreadsheet, annotations, COVID-Net's lists."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import openpyxl
import pytest
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate

ROOT = "1.2.826.0.1.3680043.10.474."
HEIGHT, WIDTH = 80, 96

# fmt: off
STUDIES = {
    # study: patient, UID, in the spreadsheet
    "A": ("419639-000001", ROOT + "419639.11111", True),
    "B": ("419639-000001", ROOT + "419639.22222", True),
    "C": ("SITE2-000002", ROOT + "8.333", True),
    "D": ("SITE2-000002", ROOT + "2.44444", True),
    "E": ("SITE2-000002", ROOT + "2.55555", True),
    "F": ("440808-000003", ROOT + "3.66666", True),
    "G": ("440808-000003", ROOT + "3.77777", True),
    "H": ("419639-000004", ROOT + "4.88888", False),
    "I": ("419639-000004", ROOT + "4.99999", False),
    "J": ("419639-000004", ROOT + "4.12121", True),
}
NOT_IN_THE_MAPPING = "I"
MILD, MODERATE = "Mild Opacities  (1-2 lung zones)", "Moderate Opacities (3-4 lung zones)"
SEVERE, INVALID, TYPICAL = "Severe Opacities (>4 lung zones)", "Invalid Study", "Typical Appearance"
ANNOTATIONS = (
    # study, annotator, label; in the order of the file
    ("A", "U_1", MILD), ("A", "U_2", MODERATE), ("A", "U_3", MILD), ("A", "U_1", TYPICAL),
    # One annotator with two grades of level 2 has one vote for it.
    ("B", "U_1", MODERATE), ("B", "U_1", SEVERE), ("B", "U_2", MILD), ("B", "U_3", SEVERE),
    ("C", "U_2", SEVERE), ("C", "U_1", MILD),
    ("D", "U_1", INVALID), ("D", "U_2", INVALID), ("D", "U_3", MILD),
    ("E", "U_1", TYPICAL),
    ("F", "U_1", MODERATE), ("F", "U_2", MODERATE), ("F", "U_3", MILD),
    ("G", "U_1", SEVERE),
    ("H", "U_1", MODERATE), ("I", "U_1", MODERATE), ("J", "U_1", MILD),
)
USABLE = (
    "MIDRC-RICORD-1C-419639-000001-11111-0.png 10 5 90 75",
    "MIDRC-RICORD-1C-419639-000001-11111-2.png",
    "MIDRC-RICORD-1C-419639-000001-22222-0.png",
    "MIDRC-RICORD-1C-SITE2-000002-8.333-0.png 0 0 200 200",
    "MIDRC-RICORD-1C-SITE2-000002-44444-0.png",
    "MIDRC-RICORD-1C-SITE2-000002-55555-0.png",
    "MIDRC-RICORD-1C-440808-000003-66666-0.png",
    "MIDRC-RICORD-1C-440808-000003-66666-1.png",
    "MIDRC-RICORD-1C-440808-000003-77777-0.png",
    "MIDRC-RICORD-1C-419639-000004-88888-0.png",
    "MIDRC-RICORD-1C-419639-000004-99999-0.png",
    "MIDRC-RICORD-1C-419639-000004-12121-0.png",
    "MIDRC-RICORD-1C-419639-000005-13131-0.png",
)
TEST = (
    "440808-000003 MIDRC-RICORD-1C-440808-000003-66666-0.png level1 ricord",
    "440808-000003 MIDRC-RICORD-1C-440808-000003-77777-0.png level2 ricord",
)
# fmt: on

Stored = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.int16]


def ramp(low: int, high: int, dtype: type) -> Any:
    """A film whose columns rise from `low` to `high`, with a step half way down to tell its ends apart."""
    columns = np.linspace(low, high, WIDTH).round()
    film = np.repeat(columns[np.newaxis], HEIGHT, axis=0)
    film[HEIGHT // 2 :] = np.minimum(film[HEIGHT // 2 :] + (high - low) // 8, high)
    return film.astype(dtype)


def write_film(path: Path, pixels: Stored, *, syntax: str, bits: int, study: str, **attributes: Any) -> None:
    """Write a real DICOM file; `attributes` by keyword."""
    patient, study_uid, _ = STUDIES[study]
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.UID(syntax)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = uid.ComputedRadiographyImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid.generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study_uid, uid.generate_uid()
    dataset.PatientID, dataset.PatientName = f"MIDRC-RICORD-1C-{patient}", "Anonymous"
    dataset.Modality, dataset.ViewPosition, dataset.BodyPartExamined = "CR", "AP", "PORT CHEST"
    dataset.PatientAge, dataset.PatientSex = "061Y", "F"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8 * pixels.itemsize, bits, bits - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    _set_pixels(dataset, pixels, syntax)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


def _set_pixels(dataset: Dataset, pixels: Stored, syntax: str) -> None:
    encode: dict[str, Callable[[Stored], bytes]] = {
        uid.JPEG2000Lossless: lambda p: bytes(
            imagecodecs.jpeg2k_encode(p, codecformat="j2k", reversible=True)
        ),
        uid.JPEGLSLossless: lambda p: bytes(imagecodecs.jpegls_encode(p.view(np.uint16))),
        uid.JPEGBaseline8Bit: lambda p: bytes(imagecodecs.jpeg8_encode(p, level=100)),
    }
    if syntax in encode:
        dataset.PixelData = encapsulate([encode[syntax](pixels)])
        dataset["PixelData"].VR = "OB"
    else:
        big = syntax == uid.ExplicitVRBigEndian
        dataset.PixelData = pixels.astype(pixels.dtype.newbyteorder(">" if big else "<")).tobytes()
        dataset["PixelData"].VR = "OW" if pixels.itemsize == 2 else "OB"
    if syntax == uid.RLELossless:
        dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
        dataset.compress(uid.RLELossless, generate_instance_uid=False)


@dataclass(frozen=True)
class Miniature:
    """Where the parts are."""

    download: Path
    clinical: Path
    annotations: Path
    lists: Path

    def arguments(self, output: Path) -> list[str]:
        """Of `cxrs-edge data ricord`."""
        options = {"--clinical": self.clinical, "--annotations": self.annotations, "--lists": self.lists}
        named = [word for option, path in options.items() for word in (option, str(path))]
        return ["data", "ricord", str(self.download), "-o", str(output), *named]


@pytest.fixture
def ricord(tmp_path: Path) -> Miniature:
    """Ten studies of four patients, thirteen films; a fifth patient's film was never downloaded."""
    miniature = Miniature(
        download=tmp_path / "manifest-1612365584013",
        clinical=tmp_path / "MIDRC-RICORD-1c Clinical Data Jan 13 2021 .xlsx",
        annotations=tmp_path / "1c_mdai_rsna_project_MwBeK3Nr_annotations_labelgroup_all.json",
        lists=tmp_path / "COVID-Net",
    )
    write_films(miniature.download / "MIDRC-RICORD-1C")
    write_spreadsheet(miniature.clinical)
    write_annotations(miniature.annotations)
    write_lists(miniature.lists)
    return miniature


def write_films(collection: Path) -> None:
    def at(study: str, series: str, file: str = "1-1.dcm") -> Path:
        patient, study_uid, _ = STUDIES[study]
        exam = f"05-06-2003-NA-XR CHEST 1 VIEW AP PORTABLE-{study_uid[-5:]}"
        return collection / f"MIDRC-RICORD-1C-{patient}" / exam / series / file

    deep, shallow = ramp(200, 3200, np.uint16), ramp(16, 240, np.uint8)
    explicit, implicit = uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian
    inverse = {"PhotometricInterpretation": "MONOCHROME1"}
    write_film(at("A", "1.000000-AP-1"), deep, syntax=explicit, bits=12, study="A", **inverse)
    write_film(at("A", "2.000000-LAT-1"), deep, syntax=implicit, bits=12, study="A", ViewPosition="LL")
    write_film(
        at("A", "2.000000-LAT-1", "1-2.dcm"), deep, syntax=implicit, bits=12, study="A", ViewPosition="LL"
    )
    window = {"WindowCenter": [1700, 9], "WindowWidth": [1001, 9], "RescaleSlope": 1, "RescaleIntercept": 0}
    write_film(at("B", "1-PA"), deep, syntax=uid.JPEG2000Lossless, bits=12, study="B", ViewPosition="PA",
               PatientSex="M", **window)  # fmt: skip
    write_film(at("C", "1-AP"), shallow, syntax=uid.RLELossless, bits=8, study="C", **inverse)
    write_film(at("D", "1-AP"), shallow, syntax=explicit, bits=8, study="D")
    write_film(at("E", "1-AP"), shallow, syntax=explicit, bits=8, study="E")
    full = ramp(0, 65535, np.uint16)
    write_film(at("F", "1-AP"), full, syntax=uid.DeflatedExplicitVRLittleEndian, bits=16, study="F")
    write_film(at("F", "1-AP", "1-2.dcm"), full, syntax=uid.ExplicitVRBigEndian, bits=16, study="F")
    signed = ramp(-1000, 1000, np.int16)
    write_film(at("G", "1-AP"), signed, syntax=uid.JPEGLSLossless, bits=16, study="G",
               RescaleSlope=2, RescaleIntercept=-500)  # fmt: skip
    write_film(at("H", "1-AP"), shallow, syntax=uid.JPEGBaseline8Bit, bits=8, study="H", PatientAge="")
    write_film(at("I", "1-AP"), shallow, syntax=explicit, bits=8, study="I")
    write_film(at("J", "1-AP"), deep, syntax=explicit, bits=12, study="J")
    whole = at("J", "1-AP").read_bytes()
    at("J", "1-AP").write_bytes(whole[: len(whole) // 2])


def write_spreadsheet(path: Path) -> None:
    workbook = openpyxl.Workbook()
    workbook.active.title = "Data dictionary"
    sheet = workbook.create_sheet("CR Pos - TCIA Submission")
    sheet.append(["Anon MRN", "Age", "Anon TCIA Study Date", "Anon Exam Description ", "Anon Study UID"])
    for patient, study_uid, listed in STUDIES.values():
        if listed:
            sheet.append([patient, 61, datetime(2003, 5, 6), "XR CHEST 1 VIEW AP PORTABLE", study_uid])
    sheet.append([None] * 5)
    workbook.save(path)


def write_annotations(path: Path) -> None:
    names = [TYPICAL, MILD, MODERATE, SEVERE, INVALID]
    labels = [
        {"id": f"L_{number}", "name": name, "scope": "EXAM", "annotationMode": None, "color": "#fff",
         "description": "", "shortName": name[:4], "type": "GLOBAL", "radlexTagIds": []}
        for number, name in enumerate(names)
    ]  # fmt: skip
    annotations = [
        {"id": f"A_{number}", "parentId": None, "StudyInstanceUID": STUDIES[study][1], "SeriesInstanceUID": None,
         "SOPInstanceUID": None, "labelId": f"L_{names.index(name)}", "createdById": author, "data": None,
         "createdAt": "2020-12-01T00:00:00.000Z", "updatedAt": "2020-12-01T00:00:00.000Z", "note": ""}
        for number, (study, author, name) in enumerate(ANNOTATIONS)
    ]  # fmt: skip
    project = {
        "id": "MwBeK3Nr", "name": "RSNA", "description": "",
        "labelGroups": [
            {"id": "G_1", "name": "Classification", "type": "Exam", "labels": labels[:1]},
            {"id": "G_2", "name": "Airspace Disease Grading", "type": "Exam", "labels": labels[1:]},
        ],
        "datasets": [{"id": "D_1", "name": "1c", "studies": [], "annotations": annotations}],
    }  # fmt: skip
    path.write_text(json.dumps(project))


def write_lists(clone: Path) -> None:
    (clone / "create_ricord_dataset").mkdir(parents=True)
    (clone / "labels").mkdir()
    (clone / "create_ricord_dataset" / "ricord_data_set.txt").write_text("\n".join(USABLE) + "\n")
    mapping: dict[str, list[str]] = {}
    for name, (patient, study_uid, _) in STUDIES.items():
        if name != NOT_IN_THE_MAPPING:
            mapping.setdefault(patient, []).append(study_uid)
    name = "ricord_patientid_to_studyid_mapping.json"
    (clone / "create_ricord_dataset" / name).write_text(json.dumps(mapping))
    (clone / "labels" / "test_COVIDxSev.txt").write_text("\n".join(TEST) + "\n")
