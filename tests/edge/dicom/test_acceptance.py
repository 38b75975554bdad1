"""Which DICOM files are graded, why others are not, and what is noted; never a word about the patient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import uid
from pydicom.dataset import Dataset

from cxrs_edge.errors import ImageError
from cxrs_edge.image import GrayImage, read_image

from .conftest import encode, lut_item, new_dataset, stored_values

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR")
WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}


def chest_xray(**attributes: Any) -> bytes:
    return encode(new_dataset(stored_values(12), 12, **{**WINDOW, **attributes}))


def read(data: bytes) -> GrayImage:
    return read_image(data, name="scan")


def refusal(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        read(data)
    return str(caught.value)


def coded(value: str, scheme: str = "SCT") -> list[Dataset]:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, "free text"
    return [item]


def test_a_frontal_chest_xray_is_read_without_a_note() -> None:
    image = read(chest_xray())
    assert (image.format, image.size, image.notes) == ("DICOM", (88, 72), ())


@pytest.mark.parametrize(
    "attributes",
    [
        {"ViewPosition": "AP"},
        {"ViewPosition": "AP SUPINE"},
        {"ViewPosition": "pa"},
        {"ViewPosition": None, "ViewCodeSequence": coded("399348003")},
        {"ViewPosition": "", "ViewCodeSequence": coded("R-10214", "SNM3")},
        {"BodyPartExamined": "PORT CHEST"},
        {"BodyPartExamined": "TORAX"},
        {"BodyPartExamined": None, "AnatomicRegionSequence": coded("51185008")},
        {
            "Modality": "CR",
            "SOPClassUID": uid.ComputedRadiographyImageStorage,
            "PresentationIntentType": None,
        },
        {"Modality": "RG", "SOPClassUID": uid.SecondaryCaptureImageStorage},
        {"Modality": "DR", "SOPClassUID": uid.SecondaryCaptureImageStorage},
        {"NumberOfFrames": 1},
        {"BurnedInAnnotation": "NO"},
        {"PatientOrientation": ["L", "F"]},
        {"PatientOrientation": ["R", "FP"]},
        {"PatientAge": "018Y"},
        {"PatientAge": None, "PatientBirthDate": "20000229", "StudyDate": "20180301"},
        {"PatientAge": "", "PatientBirthDate": "someday", "StudyDate": "20180301"},
        {"PixelPaddingValue": 0},
    ],
)
def test_these_are_read_without_a_note(attributes: dict[str, Any]) -> None:
    assert read(chest_xray(**attributes)).notes == ()


PART = "; the network grades the CHEST; send a chest X-ray, or correct what the file states"
MODALITY = "; expected CR or DX; send the X-ray itself, or correct what the file states"
VIEWS = "; the network grades frontal views (PA, AP); send that picture, or correct what the file states"
REFUSALS = [
    ({"ViewPosition": "LL"}, "lateral view (ViewPosition LL)" + VIEWS),
    ({"ViewPosition": "RL"}, "lateral view (ViewPosition RL)" + VIEWS),
    ({"ViewPosition": "LATERAL"}, "lateral view (ViewPosition LATERAL)" + VIEWS),
    ({"ViewPosition": "PA AND LATERAL"}, "lateral view (ViewPosition PA AND LATERAL)" + VIEWS),
    ({"ViewPosition": "LLD"}, "decubitus view (ViewPosition LLD)" + VIEWS),
    ({"ViewPosition": "RLO"}, "oblique view (ViewPosition RLO)" + VIEWS),
    ({"ViewPosition": "SWIMMERS"}, "view not known (ViewPosition SWIMMERS)" + VIEWS),
    (
        {"ViewPosition": None, "ViewCodeSequence": coded("399067008")},
        "lateral view (ViewCodeSequence)" + VIEWS,
    ),
    (
        {"ViewPosition": None, "ViewCodeSequence": coded("399182000")},
        "another view (ViewCodeSequence)" + VIEWS,
    ),
    (
        {"ViewPosition": None, "PatientOrientation": ["P", "F"]},
        "lateral view (PatientOrientation)" + VIEWS,
    ),
    (
        {"ViewPosition": None, "SeriesDescription": "W033 Thorax lat."},
        "lateral view by its SeriesDescription" + VIEWS,
    ),
    ({"BodyPartExamined": "HAND"}, "body part HAND (BodyPartExamined)" + PART),
    (
        {"BodyPartExamined": None, "AnatomicRegionSequence": coded("816092008")},
        "another body part (AnatomicRegionSequence)" + PART,
    ),
    (
        {"SOPClassUID": uid.DigitalXRayImageStorageForProcessing},
        "Digital X-Ray Image Storage - For Processing: raw detector data; export it for presentation",
    ),
    (
        {"PresentationIntentType": "FOR PROCESSING"},
        "Presentation Intent Type FOR PROCESSING: raw detector data; export it for presentation",
    ),
    (
        {"SOPClassUID": uid.CTImageStorage},
        "CT Image Storage; expected a CR or DX image; send the X-ray itself",
    ),
    (
        {"SOPClassUID": uid.BasicTextSRStorage},
        "Basic Text SR Storage; expected a CR or DX image; send the X-ray itself",
    ),
    ({"SOPClassUID": "1.2.3.4"}, "an unknown SOP class; expected a CR or DX image; send the X-ray itself"),
    ({"Modality": "MG"}, "Modality MG" + MODALITY),
    ({"Modality": None}, "Modality is not stated" + MODALITY),
    ({"NumberOfFrames": 2}, "2 frames; expected one X-ray in a file; export one frame"),
    ({"PixelData": None}, "no pixel data; expected a CR or DX image; copy the whole file again"),
    (
        {"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3},
        "RGB, 3 samples a pixel; expected MONOCHROME1 or 2 with one; export it in gray",
    ),
    (
        {"Rows": 6251, "Columns": 6400},
        "6400 x 6251 pixels; expected at most 40 megapixels; export it smaller",
    ),
    ({"Rows": 63}, "88 x 63 pixels; expected at least 64 a side; export it in full size"),
    ({"Rows": None}, "Rows is missing or no integer; expected a whole DICOM image; export it again"),
    (
        {"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31},
        "32 bits stored in 32 below bit 31; expected 8 to 16 bits in 8 or 16; export it so",
    ),
    ({"Rows": 80}, "12672 bytes of pixels; expected 14080; copy the whole file again"),
    (
        {"WindowWidth": 0},
        "Window Center 2048, Width 0; expected a width at least 1; export it again",
    ),
    (
        {"WindowWidth": 0, "VOILUTFunction": "SIGMOID"},
        "Window Center 2048, Width 0; expected a width above 0; export it again",
    ),
    (
        {"VOILUTFunction": "CUBIC"},
        "an unknown VOI LUT Function; expected LINEAR, LINEAR_EXACT or SIGMOID; export it again",
    ),
    (
        {"RescaleSlope": 0, "RescaleIntercept": 5},
        "Rescale Slope 0, Intercept 5; expected finite ones, the slope not 0; export it again",
    ),
    *(
        (
            {"RescaleSlope": slope, "RescaleIntercept": 5},
            f"Rescale Slope {slope}, Intercept 5; expected finite ones, the slope not 0; export it again",
        )
        for slope in ("1e+308", "1e-300", "inf", "nan")
    ),
    (
        {"VOILUTSequence": [lut_item(0, 7, np.arange(128))]},
        "a lookup table of 7 bits; expected 8 to 16; export it again",
    ),
    (
        {"VOILUTSequence": [lut_item(0, 10, np.arange(4096))]},
        "a lookup table with values up to 4095; expected 10 bits; export it again",
    ),
    (
        {"VOILUTSequence": [Dataset()]},
        "a lookup table without LUT Descriptor; export it again",
    ),
    (
        {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 4095},
        "every pixel is padding; expected an X-ray; export it again",
    ),
]


@pytest.mark.parametrize(("attributes", "reason"), REFUSALS)
def test_a_refusal_gives_its_reason(attributes: dict[str, Any], reason: str) -> None:
    assert refusal(chest_xray(**attributes)) == f"scan: {reason}"


def test_a_view_that_is_no_code_is_not_repeated() -> None:
    message = refusal(chest_xray(ViewPosition="of Ephemeral N."))
    assert message == "scan: view not known (ViewPosition (not a standard code))" + VIEWS


@pytest.mark.parametrize(
    ("syntax", "name"),
    [
        (b"1.2.840.10008.1.2.4.100", "MPEG2 Main Profile / Main Level"),
        (b"1.2.840.10008.1.2.9.999", "an unknown transfer syntax"),
    ],
)
def test_other_transfer_syntaxes_are_named(syntax: bytes, name: str) -> None:
    data = encode(new_dataset(stored_values(12), 12), uid.HTJ2K, b"frame")
    data = data.replace(uid.HTJ2K.encode(), syntax)
    assert refusal(data) == f"scan: {name} is not read; send or export it as Explicit VR Little Endian"


NOTES = [
    ({"ViewPosition": ""}, "the file does not state the view; taken for a frontal one"),
    (
        {"ViewPosition": "", "SeriesDescription": "Thorax pa und lateral"},
        "the file does not state the view; taken for a frontal one",
    ),
    ({"BodyPartExamined": None}, "the file does not state the body part"),
    ({"PatientAge": "017Y"}, "patient under 18 years; the network was made for adults"),
    ({"PatientAge": "011M"}, "patient under 18 years; the network was made for adults"),
    (
        {"PatientAge": None, "PatientBirthDate": "20000302", "StudyDate": "20180301"},
        "patient under 18 years; the network was made for adults",
    ),
    (
        {"PatientOrientation": ["F", "R"]},
        "the picture is not upright, by its Patient Orientation; the network was made for upright ones",
    ),
    (
        {"PatientOrientation": ["R", "H"]},
        "the picture is not upright, by its Patient Orientation; the network was made for upright ones",
    ),
    (
        {"BurnedInAnnotation": "YES"},
        "burned-in annotation: the picture may show text, even the patient's name",
    ),
    (
        {"PixelAspectRatio": [2, 1]},
        "pixels are not square (PixelAspectRatio); they are graded as if they were",
    ),
    ({"PixelSpacing": [0.2, 0.4]}, "pixels are not square (PixelSpacing); they are graded as if they were"),
    (
        {"WindowCenter": [2048, 100, 5], "WindowWidth": [4096, 50, 5]},
        "3 windows in the file; the first was used",
    ),
    (
        {"VOILUTSequence": [lut_item(0, 12, np.arange(4096))]},
        "the file has a window and a VOI LUT; the VOI LUT was used",
    ),
    (
        {"WindowCenter": None, "WindowWidth": None},
        "no window or VOI LUT in the file: its whole range of values was shown",
    ),
    (
        {"WindowCenter": 2048, "WindowWidth": 32768},
        "the picture spans only 32 of 256 gray levels; look at it with `cxrs-edge show`",
    ),
    (
        {"PresentationLUTShape": "INVERSE"},
        "Photometric Interpretation and Presentation LUT Shape contradict each other; the picture was "
        "inverted, as the latter says",
    ),
    (
        {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "IDENTITY"},
        "Photometric Interpretation and Presentation LUT Shape contradict each other; the picture was not "
        "inverted, as the latter says",
    ),
]


@pytest.mark.parametrize(("attributes", "note"), NOTES)
def test_what_is_odd_is_noted(attributes: dict[str, Any], note: str) -> None:
    assert read(chest_xray(**attributes)).notes == (note,)


def test_several_voi_luts_are_counted() -> None:
    items = [lut_item(0, 12, np.arange(4096)), lut_item(0, 12, np.arange(4096)[::-1])]
    image = read(chest_xray(VOILUTSequence=items, WindowCenter=None, WindowWidth=None))
    assert image.notes == ("2 VOI LUTs in the file; the first was used",)
    assert image.pixels[0, 3] == 255


def test_the_document_has_every_message() -> None:
    document = (Path(__file__).parents[3] / "docs" / "dicom.md").read_text()
    rows = {
        line.split(" | ")[0].removeprefix("| ") for line in document.splitlines() if line.startswith("| ")
    }
    assert {note for _attributes, note in NOTES if "was not inverted" not in note} <= rows
    shown = {reason for _attributes, reason in REFUSALS}
    # One example of each kind is enough.
    shown -= {reason for reason in shown if "RL)" in reason or "LATERAL)" in reason or "Text SR" in reason}
    shown -= {reason for reason in shown if reason.startswith("Rescale Slope") and "Slope 0" not in reason}
    assert shown <= rows


@pytest.mark.parametrize("keyword", ["BodyPartExamined", "ViewPosition", "Modality"])
@pytest.mark.parametrize("typed", ["MUSTERMANN HANS", "4711", "Mustermann", "HAND MUSTERMANN"])
def test_what_somebody_typed_into_a_field_for_codes_is_not_repeated(keyword: str, typed: str) -> None:
    message = refusal(chest_xray(**{keyword: typed}))
    assert "(not a standard code)" in message
    assert not any(word in message.upper() for word in ("MUSTERMANN", "HANS", "4711"))
