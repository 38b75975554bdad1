"""What `explain` and `predict --evidence` print of an image, and the files that they write of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from cxrs_edge.evidence.factors import check_model, explain
from cxrs_edge.evidence.folder import open_folder
from cxrs_edge.evidence.words import describe_lines, explanation_json
from cxrs_edge.grader import Grader
from cxrs_edge.render import Style, printable, render


def answering(
    grader: Grader, style: Style, folder: str, kinds: tuple[str, ...]
) -> Callable[[str | bytes, str], str]:
    """An image, as a path or as bytes, and its name -> the grade; text and JSON tell the evidence too.

    `kinds` (keys of `cxrs_edge.evidence.folder.ENCODERS`) are the files that each explained image gets in the folder.
    Raises `ModelError` if the model has no evidence, `InputError` if the folder can't be made; what is returned
    raises as `explain` and `Folder.save`.
    """
    check_model(grader)
    target = open_folder(Path(folder))

    def answer(source: str | bytes, name: str) -> str:
        explanation = explain(grader, source, name=name)
        paths = () if explanation.reason else target.save(explanation, kinds)
        if style == "json":
            told = explanation_json(explanation)
            told["evidence"]["files"] = [str(path) for path in paths]
            return json.dumps(told, allow_nan=False)
        graded = render(explanation.examination.grade, style)
        if style == "csv":
            return graded
        details = [*describe_lines(explanation), *(printable(str(path)) for path in paths)]
        return "\n".join([graded, *(f"  {line}" for line in details)])

    return answer
