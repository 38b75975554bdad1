"""Scores and collections -> one record for each scored film."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cxrs_bench.data.severity.clones import (
    ACTUALMED,
    BRIXIA,
    COHEN,
    COVID_NET,
    FIGURE1,
    HANNOVER,
    Repository,
    find_images,
    key_of,
    read_table,
)
from cxrs_bench.data.severity.scores import Brixia, Geographic, read_brixia, read_geographic
from cxrs_edge.errors import DataError

NOT_STATED, RESEARCH_ONLY = "not stated", "not stated; research purposes only"
HANNOVER_URL, HANNOVER_LICENCE = "https://doi.org/10.6084/m9.figshare.12275009", "CC BY 3.0"
BRESCIA_LICENCE, BRESCIA_NAME = "CC BY-NC-SA 4.0", re.compile(r"\d+(-\d+)*")
"""Of the Brixia authors' own seven films, which are in no other collection."""
SEARCHED: Mapping[str, tuple[Repository, ...]] = {
    "brixia-cohen": (BRIXIA, COHEN),
    "ml-workgroup": (HANNOVER, COHEN),
    "cohen": (COHEN, BRIXIA),
    "figure1": (FIGURE1,),
    "actualmed": (ACTUALMED,),
}
"""Source of a film -> where its image is looked for."""


@dataclass(frozen=True)
class About:
    """What a collection tells of a film, empty where it doesn't; `patient` is an id within that collection."""

    patient: str = ""
    view: str = ""
    age: str = ""
    sex: str = ""
    licence: str = ""
    url: str = ""
    modality: str = ""


@dataclass(frozen=True)
class Film:
    """One scored film.

    Attributes
    ----------
    patients : ids that name its patient, each with its collection; films that share one are of one patient.
    image, copy_from : its file and the repository it is from; None and empty when no clone has it.
    """

    name: str
    source: str
    patients: tuple[str, ...]
    image: Path | None
    copy_from: str
    about: About
    brixia: Brixia | None
    geographic: Geographic | None


def read_films(clones: Path) -> tuple[Film, ...]:
    """Join everything below `clones`; one record for each key that was scored, sorted. Raises `DataError`."""
    brixia, geographic = read_brixia(clones), read_geographic(clones)
    if not brixia and not geographic:
        raise DataError(
            f"{clones}: no scores in it; expected a clone of github {BRIXIA.address} or {COVID_NET.address}"
        )
    collections = {
        "cohen": _read_cohen(clones),
        "ml-workgroup": _read_hannover(clones),
        "figure1": _read_figure1(clones),
        "actualmed": _read_actualmed(clones),
    }
    images = {one.address: find_images(clones, one) for one in (BRIXIA, COHEN, HANNOVER, FIGURE1, ACTUALMED)}
    return tuple(
        _join(key, brixia.get(key), geographic.get(key), collections, images)
        for key in sorted(brixia.keys() | geographic.keys())
    )


def _join(
    key: str,
    brixia: Brixia | None,
    geographic: Geographic | None,
    collections: Mapping[str, Mapping[str, About]],
    images: Mapping[str, Mapping[str, Path]],
) -> Film:
    source = _source(key, brixia, geographic, collections)
    told = {name: about[key] for name, about in collections.items() if key in about}
    home = "cohen" if source == "brixia-cohen" else source
    about = _complete(told.get(home, About()), geographic, _licence(key, source))
    places = [one for one in SEARCHED[source] if key in images[one.address]]
    name = brixia.name if brixia else geographic.name if geographic else key
    return Film(
        name=name,
        source=source,
        patients=_patients(key, told, geographic),
        image=images[places[0].address][key] if places else None,
        copy_from=places[0].address if places else "",
        about=about,
        brixia=brixia,
        geographic=geographic,
    )


def _source(
    key: str,
    brixia: Brixia | None,
    geographic: Geographic | None,
    collections: Mapping[str, Mapping[str, About]],
) -> str:
    if brixia:
        return "brixia-cohen"
    dataset = geographic.dataset if geographic else ""
    if dataset in ("fig1", "actmed"):
        return {"fig1": "figure1", "actmed": "actualmed"}[dataset]
    return "ml-workgroup" if key in collections["ml-workgroup"] else "cohen"


def _licence(key: str, source: str) -> str:
    """What a collection as a whole states, where it tells nothing of the film."""
    if source == "brixia-cohen" and BRESCIA_NAME.fullmatch(key):
        return BRESCIA_LICENCE
    return {"ml-workgroup": HANNOVER_LICENCE, "figure1": RESEARCH_ONLY, "actualmed": RESEARCH_ONLY}.get(
        source, NOT_STATED
    )


def _complete(about: About, geographic: Geographic | None, licence: str) -> About:
    """Fill what the collection doesn't tell from COVID-Net's table."""
    other = About(view=geographic.view, age=geographic.age, sex=geographic.sex) if geographic else About()
    return About(
        patient=about.patient,
        view=_view(about.view or other.view),
        age=(about.age or other.age).removesuffix(".0"),
        sex=(about.sex or other.sex).upper()[:1],
        licence=about.licence or licence,
        url=about.url or (HANNOVER_URL if licence == HANNOVER_LICENCE else ""),
        modality=about.modality,
    )


def _patients(key: str, told: Mapping[str, About], geographic: Geographic | None) -> tuple[str, ...]:
    ids = [f"{name}:{about.patient}" for name, about in told.items() if about.patient]
    if geographic and geographic.patient and geographic.dataset == "cohen":
        ids.append(f"cohen:{geographic.patient}")
    if not ids and geographic and geographic.patient:
        ids.append(f"{geographic.dataset}:{geographic.patient}")
    return tuple(dict.fromkeys(ids or [f"name:{_series(key)}"]))


def _series(key: str) -> str:
    """What is left of a name without the day or number at its end: on the safe side, one patient."""
    return re.sub(r"[\W_]+(day|d)$", "", key.rstrip(string.digits + string.punctuation + " "))


def _view(text: str) -> str:
    """``PA``, ``AP``, ``AP Supine``, ``unknown``, or whatever else a table says, such as ``L``."""
    if not text:
        return "unknown"
    if text.upper().startswith("AP"):
        return "AP Supine" if "supine" in text.lower() else "AP"
    return "PA" if text.upper().startswith("PA") else text


def _read_cohen(clones: Path) -> dict[str, About]:
    rows = read_table(clones, COHEN, ("metadata.csv",), ("patientid", "filename", "view"))
    return {
        key_of(row["filename"]): About(
            row["patientid"], row["view"], row.get("age", ""), row.get("sex", ""),
            row.get("license", ""), row.get("url", ""), row.get("modality", ""),
        )
        for row in rows
    }  # fmt: skip


def _read_hannover(clones: Path) -> dict[str, About]:
    rows = read_table(clones, HANNOVER, ("data.csv",), ("patient_id", "image_id", "projection"))
    return {
        key_of(row["image_id"]): About(
            row["patient_id"], row["projection"].upper(), row.get("age", ""), row.get("sex", "")
        )
        for row in rows
    }


def _read_figure1(clones: Path) -> dict[str, About]:
    rows = read_table(clones, FIGURE1, ("metadata.csv",), ("patientid", "view"))
    # Films of one patient differ by a letter: COVID-00003a, COVID-00003b.
    return {
        key_of(row["patientid"]): About(
            row["patientid"].rstrip("abcdefgh"), row["view"], row.get("age", ""), row.get("sex", "")
        )
        for row in rows
    }


def _read_actualmed(clones: Path) -> dict[str, About]:
    rows = read_table(clones, ACTUALMED, ("metadata.csv",), ("patientid", "imagename", "view"))
    return {
        key_of(row["imagename"]): About(row["patientid"], row["view"], row.get("age", ""), row.get("sex", ""))
        for row in rows
    }
