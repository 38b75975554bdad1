"""The report page, its twins and what a hostile report can't do to them."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from analysed_example import EXAMPLE, analysed_example
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cxrs_bench.analysing.advantage import find_advantages
from cxrs_bench.cli_report import report as report_command
from cxrs_bench.record import Report, decode_report, encode_report, read_report
from cxrs_bench.reporting import page as page_module
from cxrs_bench.reporting import plots
from cxrs_bench.reporting.charts import INKS, canvas, embed
from cxrs_bench.reporting.headline import headline
from cxrs_bench.reporting.page import render_page
from cxrs_bench.reporting.rows import balanced_accuracy, pareto_front, timed_runs
from cxrs_bench.reporting.texts import CSV_COLUMNS, render_csv, render_markdown
from cxrs_bench.reporting.three_networks import ThreeNetworks, read_three_networks
from cxrs_bench.reporting.words import interval, listed, number
from cxrs_edge.errors import CxrsError, DataError

NO_CHARTS = page_module.Charts((), (), (), (), ())
SECTIONS = (
    "verdict",
    "accuracy",
    "latency",
    "operators",
    "roofline",
    "claims",
    "confusion",
    "command",
    "sustained",
    "host",
)


@pytest.fixture(scope="module")
def analysed() -> Report:
    return analysed_example()


@pytest.fixture
def without_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take seconds, and are the subject of other tests."""
    monkeypatch.setattr(page_module, "draw_charts", lambda *_: NO_CHARTS)


@pytest.fixture(scope="module")
def page(analysed: Report) -> str:
    return render_page(analysed)


class _Elements(HTMLParser):
    """Counts elements and keeps attributes and text, as a browser would read them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_every_section_and_every_chart_is_there(page: str, analysed: Report) -> None:
    elements = _Elements(page)
    ids = [value for _, name, value in elements.attributes if name == "id"]
    assert set(SECTIONS) <= set(ids)
    assert len(ids) == len(set(ids)), [id for id, count in Counter(ids).items() if count > 1]
    # 2 thread counts of accuracy; latencies and rooflines of 3 precisions x 2; 6 profiles; 1 sustained run.
    assert elements.tags["svg"] == elements.tags["figure"] == 2 + 6 + 6 + 6 + 1
    for claim in analysed.analyses.claims:
        assert claim.claim in elements.text
    for model in analysed.models:
        assert model.id in elements.text


def test_the_page_needs_nothing_else(page: str) -> None:
    elements = _Elements(page)
    assert not set(elements.tags) & {"script", "img", "iframe", "object", "embed", "form", "base"}
    addresses = [
        (tag, value) for tag, name, value in elements.attributes if name in ("href", "src", "xlink:href")
    ]
    assert all(value.startswith(("#", "data:,")) for _, value in addresses)
    outside = set(re.findall(r"https?://[^\s\"'<>)]+", page))
    assert outside <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert "@import" not in page
    assert not [name for _, name, _ in elements.attributes if name.startswith("on")]


def test_charts_follow_the_page_s_colours(page: str) -> None:
    assert not re.search("#1a1b", page, re.IGNORECASE)
    assert {f"var(--n{index})" for index in range(3)} <= set(re.findall(r"var\(--n\d\)", page))
    declared = set(re.findall(r"--([a-z]+\d*):", page))
    assert set(INKS) <= declared


def test_the_headline_answers_per_engine_and_precision(analysed: Report) -> None:
    answer, why = headline(analysed, find_advantages(analysed))
    assert answer.startswith(
        "In part. CXR-S has 3.2 times fewer FLOPs than ResNet-50 and 2.3 times fewer than CheXNet."
    )
    for one in find_advantages(analysed):
        if one.threads == 1:
            assert f"{one.time_ratio.value:.2f}" in answer
    # The widest: 3.18 times fewer FLOPs, 1.19 times as fast.
    assert why.startswith("The widest gap is OpenVINO int8 against ResNet-50: CXR-S spends ")
    assert "additions, 19 %" in why


def test_without_opponents_or_profiles_the_page_says_so(analysed: Report) -> None:
    example = read_report(EXAMPLE)
    assert "No operator was profiled" in headline(example, find_advantages(example))[-1]
    alone = replace(example, runs=example.runs[:1])
    assert "compares no two networks" in headline(alone, find_advantages(alone))[0]
    text = _Elements(render_page(alone)).text
    assert "Latency only." in text
    nothing = replace(
        analysed, runs=(), commands=(), sustained=(), models=(), analyses=type(analysed.analyses)()
    )
    assert "compares no two networks" in _Elements(render_page(nothing)).text


HOSTILE = (
    "</style></svg><script>alert(1)</script><img src=x onerror=alert(2)>\"'$\\frac{a}{$ & \u202e\x07 \ud7ff"
)


def _with_text_everywhere(value: Any, text: str) -> Any:
    """Every text of a JSON value replaced, but those that are one of a few words or name another entry."""
    kept = {
        "schema",
        "outcome",
        "format",
        "network",
        "engine",
        "model",
        "id",
        "a",
        "b",
        "verdict",
        "topic",
        "precision",
    }
    if isinstance(value, dict):
        return {key: v if key in kept else _with_text_everywhere(v, text) for key, v in value.items()}
    if isinstance(value, list):
        return [_with_text_everywhere(v, text) for v in value]
    return text if isinstance(value, str) else value


def test_hostile_text_stays_text(analysed: Report) -> None:
    few = replace(analysed, runs=analysed.runs[:6])
    values = _with_text_everywhere(json.loads(encode_report(few)), HOSTILE)
    data = (
        json.dumps(values)
        .replace("cxrs-float32.onnx", json.dumps(HOSTILE)[1:-1])
        .replace('"openvino"', json.dumps(HOSTILE))
    )
    hostile = decode_report(data.encode(), name="x")
    text = render_page(hostile)
    elements = _Elements(text)
    assert not set(elements.tags) & {"script", "img"}
    assert not [name for _, name, _ in elements.attributes if name.startswith("on")]
    assert text.count("</style>") == text.count("<style")
    assert "<script" not in render_markdown(hostile).replace("\\<script", "")
    assert next(csv.reader(io.StringIO(render_csv(hostile)))) == list(CSV_COLUMNS)


_ANY = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just([]) | st.just({})
)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [path, *(p for key, v in value.items() for p in _paths(v, (*path, key)))]
    if isinstance(value, list):
        return [path, *(p for index, v in enumerate(value[:2]) for p in _paths(v, (*path, index)))]
    return [path]


SMALL = json.loads(encode_report(analysed_example()))
PATHS = _paths(SMALL)[1:]


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_damaged_report_is_refused_or_shown(data: st.DataObject) -> None:
    """One field, anywhere, is something else: a clear error, or a page."""
    values = json.loads(json.dumps(SMALL))
    path = data.draw(st.sampled_from(PATHS))
    parent = values
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = data.draw(_ANY)
    original = page_module.draw_charts
    page_module.draw_charts = lambda *_: NO_CHARTS
    try:
        found = decode_report(json.dumps(values).encode(), name="damaged.json")
        assert "<!doctype html>" in render_page(found)
        render_markdown(found)
        render_csv(found)
    except CxrsError:
        pass
    finally:
        page_module.draw_charts = original


def test_times_that_nobody_measured_are_refused(analysed: Report) -> None:
    first = analysed.runs[0]
    huge = replace(first, rounds=(replace(first.rounds[0], samples_ms=(1e300,)),))
    with pytest.raises(DataError, match=r"run of cxrs-float32\.tflite on tflite: a sample of 1e\+300 ms"):
        render_page(replace(analysed, runs=(huge,)))


def test_csv_has_a_line_for_every_run_with_its_figures(analysed: Report) -> None:
    lines = list(csv.DictReader(io.StringIO(render_csv(analysed))))
    assert [(line["model"], line["engine"], int(line["threads"])) for line in lines] == [
        run.key for run in analysed.runs
    ]
    first, run = lines[0], analysed.runs[0]
    assert float(first["median_ms"]) == pytest.approx(
        np.median([np.median(r.samples_ms) for r in run.rounds])
    )
    assert float(first["gmac_s"]) == pytest.approx(5565 / float(first["median_ms"]))
    assert float(first["memory_bytes"]) == max(r.rss_peak_bytes - r.rss_bare_bytes for r in run.rounds)  # type: ignore[operator]
    failed = next(line for line in lines if line["outcome"] == "failed")
    assert failed["reason"].startswith("its process was ended by SIGKILL")


def test_a_spreadsheet_runs_no_formula(analysed: Report) -> None:
    model = replace(analysed.models[0], id="=cmd()", network="@x", name="+1")
    report = replace(
        analysed,
        models=(model,),
        runs=(replace(analysed.runs[0], model="=cmd()"),),
        commands=(),
        sustained=(),
    )
    (line,) = csv.DictReader(io.StringIO(render_csv(replace(report, analyses=type(report.analyses)()))))
    assert (line["model"], line["network"]) == ("'=cmd()", "'@x")


def test_markdown_says_what_the_page_says(analysed: Report) -> None:
    text = render_markdown(analysed)
    assert "CXR-S has 3.2 times fewer FLOPs than ResNet-50" in text
    for title in (
        "What of the FLOP advantage is time",
        "Why",
        "How long an image takes",
        "The paper's claims",
    ):
        assert f"## {title}" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") - line.count("\\|") for line in tables} <= {6, 7, 8, 10}
    assert "additions | 0 | 0 % |" in text


def test_pareto_front(analysed: Report) -> None:
    rows = [row for row in timed_runs(analysed) if row.run.threads == 1]
    front = pareto_front(rows)
    judged = [row for row in rows if balanced_accuracy(row.accuracy)]
    for row in judged:
        better = [
            other
            for other in judged
            if other.median.value < row.median.value
            and balanced_accuracy(other.accuracy)[0] >= balanced_accuracy(row.accuracy)[0]  # type: ignore[index]
        ]
        assert (row in front) == (not better)


@pytest.mark.usefixtures("without_charts")
def test_three_networks(tmp_path: Path, analysed: Report) -> None:
    value = {"value": 0.7, "low": 0.6, "high": 0.8}
    network = {"by_image": {"balanced_accuracy": value, "auc": {"value": None, "low": None, "high": None}}}
    content = {
        "protocol": "Five folds, <b>alike</b> for all.",
        "networks": {"cxrs": {**network, "confusion": [[20, 5], [6, 31]]}},
        "pairs": [{"a": "cxrs", "b": "chexnet", "value": 0.02, "low": -0.03, "high": 0.07}],
    }
    path = tmp_path / "three_networks.json"
    path.write_text(json.dumps(content))
    text = render_page(analysed, read_three_networks(path))
    assert "Five folds, &lt;b&gt;alike" in text
    assert "CXR-S less CheXNet: +0.02 (-0.03 to 0.07): not resolvable" in _Elements(text).text
    path.write_text(json.dumps({**content, "networks": {"cxrs": network}}))
    with pytest.raises(
        DataError, match=r"three_networks\.json: not figures of the three networks: .*confusion"
    ):
        read_three_networks(path)
    with pytest.raises(DataError, match="can't be read"):
        read_three_networks(tmp_path / "missing.json")
    assert ThreeNetworks("p", {}).pairs == ()


@pytest.mark.usefixtures("without_charts")
def test_the_command_writes_three_files_or_none(tmp_path: Path) -> None:
    run = CliRunner().invoke(report_command, [str(EXAMPLE), "-o", str(tmp_path / "r.html")])
    assert run.exit_code == 0, run.output
    assert {path.name for path in tmp_path.iterdir()} == {"r.html", "r.md", "r.csv"}
    (tmp_path / "bad.json").write_text("{}")
    run = CliRunner().invoke(report_command, [str(tmp_path / "bad.json"), "-o", str(tmp_path / "s.html")])
    assert isinstance(run.exception, DataError)
    assert not (tmp_path / "s.html").exists()
    run = CliRunner().invoke(report_command, [str(EXAMPLE), "-o", str(tmp_path / "r.csv")])
    assert run.exit_code == 2


def test_ids_of_two_charts_never_meet() -> None:
    svg = '<?xml version="1.0"?><svg width="5pt" height="6pt" viewBox="0 0 5 6"><path id="p1"/>'
    svg += '<use xlink:href="#p1" clip-path="url(#p1)" style="fill: #1a1b01"/></svg>'
    found = embed(svg, "x")
    assert found == (
        '<svg width="100%" viewBox="0 0 5 6"><path id="x-p1"/>'
        '<use xlink:href="#x-p1" clip-path="url(#x-p1)" style="fill: var(--ink)"/></svg>'
    )


def test_a_run_of_many_samples_stays_small() -> None:
    few, many = (plots._ticks([1.0 * i for i in range(1, n + 1)], 0) for n in (100, 5000))
    assert few[0][:6:3] == [1.0, 2.0]
    assert len(few[0]) == 3 * 100
    assert len(many[0]) == len(many[1]) <= 3 * plots.MOST_TICKS
    shorter = embed('<svg><path d="M 1.23456 7.0 L -0.999 2"/><text x="3.14159">0.92345</text></svg>', "x")
    assert shorter == '<svg><path d="M 1.23 7.0 L -0.99 2"/><text x="3.14">0.92345</text></svg>'


def test_text_in_a_chart_is_never_mathematics() -> None:
    with canvas("c", 1.0) as (drawn, axis):
        axis.set_title("$\\frac{a}{$ <b>")
    assert "$\\frac{a}{$ &lt;b&gt;" in drawn.svg


def test_words() -> None:
    assert [number(value) for value in (0, 1234.5, 12.345, 0.012345, None, float("nan"))] == [
        "0", "1,234", "12.3", "0.0123", "\N{EN DASH}", "\N{EN DASH}",
    ]  # fmt: skip
    assert interval(2.0, 1.5, 2.5) == "2.00 (1.50 to 2.50)"
    assert interval(2.0, float("nan"), float("nan")) == "2.00"
    assert [listed(parts) for parts in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]


BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
MEASURE = """<!doctype html><iframe id=f src=page.html style="width:WIDTHpx;height:9000px;border:0"></iframe>
<pre id=o></pre><script>f.onload = () => { const d = f.contentDocument, w = d.documentElement;
 const seen = [...d.querySelectorAll('figure svg')].map(s => s.getBoundingClientRect())
   .filter(r => r.width > 200 && r.height > 40).length;
 const dark = f.contentWindow.matchMedia('(prefers-color-scheme: dark)').matches;
 const ink = f.contentWindow.getComputedStyle(d.querySelector('figure svg text')).fill;
 o.textContent = JSON.stringify({seen, wide: w.scrollWidth, view: w.clientWidth, dark, ink}); };</script>"""


@pytest.mark.skipif(BROWSER is None, reason="needs Debian's chromium")
@pytest.mark.parametrize(("width", "dark"), [(1200, False), (380, False), (380, True)])
def test_a_browser_shows_it_all(page: str, tmp_path: Path, width: int, dark: bool) -> None:
    """Every chart has a size, nothing is wider than the window, nothing is complained of; dark is dark."""
    (tmp_path / "page.html").write_text(page)
    (tmp_path / "measure.html").write_text(MEASURE.replace("WIDTH", str(width)))
    shown = _browse(tmp_path, "measure.html", "--dump-dom", "--virtual-time-budget=20000", dark=dark)
    found = json.loads(re.search(r'<pre id="o">(.*?)</pre>', shown.stdout)[1])  # type: ignore[index]
    assert found["seen"] == page.count("<figure>")
    assert found["wide"] <= found["view"] == width
    assert found["dark"] == dark
    picture = tmp_path / "page.png"
    shown = _browse(
        tmp_path, "page.html", f"--screenshot={picture}", f"--window-size={width},1500", dark=dark
    )
    assert "CONSOLE" not in shown.stderr, shown.stderr
    pixels = np.asarray(Image.open(picture).convert("L"))
    assert (np.median(pixels) < 60) == dark
    assert pixels.std() > 10
    red, green, blue = map(int, re.findall(r"\d+", found["ink"])[:3])
    assert (red + green + blue > 330) == dark


def _browse(folder: Path, file: str, *options: str, dark: bool) -> subprocess.CompletedProcess[str]:
    assert BROWSER is not None
    scheme = (
        ["--blink-settings=preferredColorScheme=0"] if dark else ["--blink-settings=preferredColorScheme=1"]
    )
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--allow-file-access-from-files",
        f"--user-data-dir={folder / 'profile'}", "--enable-logging=stderr", *scheme, *options,
        (folder / file).as_uri(),
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
