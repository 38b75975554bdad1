"""Which DICOM files hold a frontal chest X-ray that is meant to be looked at."""

from __future__ import annotations

import math
import re
from datetime import date

from pydicom import uid
from pydicom.dataset import Dataset

from cxrs_edge.dicom.attributes import Refusal, first_item, integer, numbers, shown, uid_name, word, words

SOP_CLASSES = (
    uid.ComputedRadiographyImageStorage,
    uid.DigitalXRayImageStorageForPresentation,
    # Scanned films and exports, if their modality is one of the below.
    uid.SecondaryCaptureImageStorage,
    uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
)
MODALITIES = ("CR", "DX", "RG", "DR")
"""Computed and digital radiography, scanned film; DR is no defined term but written by old devices for DX."""
CHEST = ("CHEST", "THORAX", "TORAX", "TORACE", "LUNG", "LUNGS")
"""The defined term, and what devices write instead."""
CHEST_CODES = ("T-D3000", "51185008", "816094009", "T-28000", "39607008")
"""Thorax, chest and lung in SNOMED RT and SNOMED CT (PS3.16, context group 4031)."""
FRONTAL = ("PA", "AP")
VIEWS = {
    "LL": "lateral view",
    "RL": "lateral view",
    "LAT": "lateral view",
    "LATERAL": "lateral view",
    "LLD": "decubitus view",
    "RLD": "decubitus view",
    "LLO": "oblique view",
    "RLO": "oblique view",
}
"""View Position's other defined terms (PS3.3, C.8.11.5), and what devices write instead."""
LATERAL_WORDS = ("LAT", "LATERAL", "LL", "RL")
FRONTAL_CODES = ("R-10202", "399033003", "R-10206", "399348003", "R-10214", "R-40888", "272479007")
LATERAL_CODES = ("R-102CD", "399067008", "R-10236", "399173006", "R-10232", "399198007", "G-A145", "30730003")
"""Of PS3.16, context group 4010, in SNOMED RT and SNOMED CT."""
SNOMED = ("SRT", "SCT", "SNM3", "99SDM")
GRADED_VIEWS = "the network grades frontal views (PA, AP); send that picture, or correct what the file states"
GRADED_PART = "the network grades the CHEST; send a chest X-ray, or correct what the file states"
EXPECTED_MODALITY = "expected CR or DX; send the X-ray itself, or correct what the file states"
ADULT = 18
SQUARE = 0.01
"""How far a pixel's sides may be apart; more is seen in a heart's width."""
DAYS_IN = {"D": 1, "W": 7, "M": 30.4, "Y": 365.25}


def check_gradable(dataset: Dataset) -> tuple[str, ...]:
    """Refuse what is no frontal chest X-ray for presentation; returns notes on what is.

    Raises `Refusal`.
    """
    _check_class(dataset)
    _check_intent(dataset)
    return (
        *_check_body_part(dataset),
        *_check_view(dataset),
        *_note_orientation(dataset),
        *_note_annotation(dataset),
        *_note_pixel_shape(dataset),
        *_note_age(dataset),
    )


def _check_class(dataset: Dataset) -> None:
    sop_class = word(dataset, "SOPClassUID") or word(dataset.file_meta, "MediaStorageSOPClassUID")
    kind = uid_name(sop_class) or "an unknown SOP class"
    if sop_class == uid.DigitalXRayImageStorageForProcessing:
        raise Refusal(f"{kind}: raw detector data; export it for presentation")
    if sop_class and sop_class not in SOP_CLASSES:
        raise Refusal(f"{kind}; expected a CR or DX image; send the X-ray itself")
    if "PixelData" not in dataset:
        raise Refusal("no pixel data; expected a CR or DX image; copy the whole file again")
    modality = word(dataset, "Modality")
    if modality not in MODALITIES:
        raise Refusal(f"Modality {shown(modality) if modality else 'is not stated'}; {EXPECTED_MODALITY}")


def _check_intent(dataset: Dataset) -> None:
    if word(dataset, "PresentationIntentType") == "FOR PROCESSING":
        raise Refusal(
            "Presentation Intent Type FOR PROCESSING: raw detector data; export it for presentation"
        )
    frames = integer(dataset, "NumberOfFrames", default=1)
    if frames != 1:
        raise Refusal(f"{frames} frames; expected one X-ray in a file; export one frame")


def _check_body_part(dataset: Dataset) -> tuple[str, ...]:
    part = word(dataset, "BodyPartExamined")
    if part:
        if any(chest in re.split(r"[^A-Z]+", part) for chest in CHEST):
            return ()
        raise Refusal(f"body part {shown(part)} (BodyPartExamined); {GRADED_PART}")
    region, _scheme = _code(dataset, "AnatomicRegionSequence")
    if not region:
        return ("the file does not state the body part",)
    if region in CHEST_CODES:
        return ()
    raise Refusal(f"another body part (AnatomicRegionSequence); {GRADED_PART}")


def _check_view(dataset: Dataset) -> tuple[str, ...]:
    view = word(dataset, "ViewPosition")
    if view:
        return _check_view_position(view)
    code, scheme = _code(dataset, "ViewCodeSequence")
    if code in FRONTAL_CODES:
        return ()
    if scheme in SNOMED:
        kind = "lateral view" if code in LATERAL_CODES else "another view"
        raise Refusal(f"{kind} (ViewCodeSequence); {GRADED_VIEWS}")
    return _check_view_by_hints(dataset)


def _check_view_position(view: str) -> tuple[str, ...]:
    parts = re.split(r"[^A-Z]+", view)
    if any(part in FRONTAL for part in parts) and not any(part in VIEWS for part in parts):
        return ()
    kind = next((VIEWS[part] for part in parts if part in VIEWS), "view not known")
    raise Refusal(f"{kind} (ViewPosition {shown(view)}); {GRADED_VIEWS}")


def _check_view_by_hints(dataset: Dataset) -> tuple[str, ...]:
    """A computed radiograph need not state its view; then other attributes may give a lateral one away."""
    # PS3.3, C.7.6.1.1.1: where the rows lead; in a lateral view that is to the front or back.
    if word(dataset, "PatientOrientation").startswith(("A", "P")):
        raise Refusal(f"lateral view (PatientOrientation); {GRADED_VIEWS}")
    named = re.split(r"[^A-Z]+", " ".join(words(dataset, "SeriesDescription")))
    if any(part in LATERAL_WORDS for part in named) and not any(part in FRONTAL for part in named):
        raise Refusal(f"lateral view by its SeriesDescription; {GRADED_VIEWS}")
    return ("the file does not state the view; taken for a frontal one",)


def _note_orientation(dataset: Dataset) -> tuple[str, ...]:
    # Rows lead to the patient's left or right and columns to the feet; a mirrored picture is graded alike.
    orientation = words(dataset, "PatientOrientation")
    if len(orientation) == 2 and not orientation[1].startswith("F"):
        return (
            "the picture is not upright, by its Patient Orientation; the network was made for upright ones",
        )
    return ()


def _note_annotation(dataset: Dataset) -> tuple[str, ...]:
    if word(dataset, "BurnedInAnnotation") == "YES":
        return ("burned-in annotation: the picture may show text, even the patient's name",)
    return ()


def _note_pixel_shape(dataset: Dataset) -> tuple[str, ...]:
    for keyword in ("PixelAspectRatio", "ImagerPixelSpacing", "PixelSpacing"):
        try:
            shape = numbers(dataset, keyword)
        except Refusal:
            continue  # nothing that the pixels depend on
        if len(shape) == 2 and not math.isclose(shape[0], shape[1], rel_tol=SQUARE):
            return (f"pixels are not square ({keyword}); they are graded as if they were",)
    return ()


def _note_age(dataset: Dataset) -> tuple[str, ...]:
    years = _age_in_years(dataset)
    if years is not None and years < ADULT:
        return (f"patient under {ADULT} years; the network was made for adults",)
    return ()


def _age_in_years(dataset: Dataset) -> float | None:
    stated = re.fullmatch(r"(\d{1,3})([DWMY])", word(dataset, "PatientAge"))
    if stated:
        return int(stated[1]) * DAYS_IN[stated[2]] / DAYS_IN["Y"]
    born, taken = _date(dataset, "PatientBirthDate"), _date(dataset, "StudyDate")
    return (taken - born).days / DAYS_IN["Y"] if born and taken else None


def _date(dataset: Dataset, keyword: str) -> date | None:
    try:
        return date.fromisoformat(word(dataset, keyword))
    except ValueError:
        return None


def _code(dataset: Dataset, keyword: str) -> tuple[str, str]:
    """Code value and scheme of a coded attribute's first item; empty if it has none."""
    item = first_item(dataset, keyword) or Dataset()
    return word(item, "CodeValue"), word(item, "CodingSchemeDesignator")
