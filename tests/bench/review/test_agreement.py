"""Agreement of readers and network on a booklet small enough to count by hand."""

from __future__ import annotations

import json
import math

import pytest
from click.testing import CliRunner

from cxrs_bench.review.agreement import agreements, judgements
from cxrs_bench.review.answers import read_answers
from cxrs_bench.review.readings import read_readers
from cxrs_edge.cli import main

ANNA = ("Anna", ["ab", "a", "", "f"], ["agree partly", "disagree", "", ""])
BEN = ("Ben", ["abc", "", "", None], ["agree disagree", "partly", "", ""])
CLEO = ("Cl|eo", ["abc", "a", None, None], ["", "", "", ""])
PATIENTS = ("p1", "p1", "p2", "p2")


@pytest.fixture
def compare(answers_file, rows, write_csv):
    def run(*told):
        answers = read_answers(answers_file)
        readers = read_readers(
            [write_csv(f"{number}.csv", rows(*one)) for number, one in enumerate(told)], answers
        )
        options = {"resamples": 200, "seed": 0}
        found = agreements(readers, answers, PATIENTS, **options)
        return {(a.between, a.what): a for a in found}, judgements(readers, answers, PATIENTS, **options)

    return run


def test_pairs_by_hand(compare):
    found, _ = compare(ANNA, BEN)
    pair = ("Anna", "Ben")
    # Cases 1 to 3 were read by both. Zone a: 1 1, 1 0, 0 0; alike 2/3, by chance (2 * 1 + 1 * 2) / 9 = 4/9.
    zone = found[pair, "zone a"]
    assert (zone.count, zone.alike) == (3, pytest.approx(2 / 3))
    assert zone.kappa.value == pytest.approx((2 / 3 - 4 / 9) / (5 / 9))
    # All 18: both 2 (a, b of case 1), Anna alone 1 (a of 2), Ben alone 1 (c of 1), none 14; 3 of 18 each.
    pooled = found[pair, "all zones"]
    chance = (3 * 3 + 15 * 15) / 18**2
    assert (pooled.count, pooled.alike) == (18, pytest.approx(16 / 18))
    assert pooled.kappa.value == pytest.approx((16 / 18 - chance) / (1 - chance))
    # Levels 1, 1, 0 and 2, 0, 0: off by 1 + 1 + 0 of 3; by chance (2/3 * (1/3 + 2/3) + 1/3 * (2 * 1/3)) = 8/9.
    assert found[pair, "level"].kappa.value == pytest.approx(1 - (2 / 3) / (8 / 9))
    # Regions: agree agree, partly disagree, disagree partly; off by 0 + 1 + 1; by chance all of 3 x 3 pairs: 8/9.
    assert found[pair, "all regions"].count == 3
    assert found[pair, "all regions"].kappa.value == pytest.approx(1 - (2 / 3) / (8 / 9))
    assert found[pair, "region 2"].count == 1
    assert (pair, "region 3") not in found
    # Nobody marked d: nothing to agree on beyond chance.
    assert math.isnan(found[pair, "zone d"].kappa.value)
    assert found[pair, "zone d"].alike == 1


def test_the_network_by_hand(compare):
    found, _ = compare(ANNA)
    # The network said nothing of case 4's zones. Zone b: 1 1, 0 0, 0 0.
    assert found[("Anna", "network"), "zone b"].count == 3
    assert found[("Anna", "network"), "zone b"].kappa.value == 1
    # Anna never marks c: kappa would be 0 from 0 to 0, whatever the network says.
    silent = found[("Anna", "network"), "zone c"]
    assert (silent.count, silent.alike, str(silent.kappa)) == (3, pytest.approx(2 / 3), "n/a")
    # Levels 1, 1, 0 beside 2, 1, 0: off by 1 of 3; by chance 2/3 * (1/3 + 1/3) + 1/3 * (1/3 + 2/3) = 7/9.
    assert found[("Anna", "network"), "level"].kappa.value == pytest.approx(1 - (1 / 3) / (7 / 9))
    assert not [what for between, what in found if "region" in what]


def test_an_interval_resamples_patients(compare):
    found, _ = compare(ANNA, BEN)
    # Of two patients only the first has opacities: of both drawn alike one draw in four has p2 alone, where kappa is
    # undefined; of p1 alone a: 1 1, 1 0; alike 1/2, by chance 1/2.
    estimate = found[("Anna", "Ben"), "zone a"].kappa
    assert estimate.undefined_share == pytest.approx(0.25, abs=0.1)
    assert (estimate.low, estimate.high) == (pytest.approx(0), pytest.approx(0.4))


def test_three_readers_have_the_mean_of_their_pairs(compare):
    found, _ = compare(ANNA, BEN, CLEO)
    everyone = found[("Anna", "Ben", "Cl|eo"), "zone a"]
    # Cases 1 and 2: 1 1 1 and 1 0 1. Anna and Cleo never say 0: undefined, and so is the mean.
    assert (everyone.count, everyone.alike) == (2, 0.5)
    assert math.isnan(everyone.kappa.value)
    pooled = [found[pair, "all zones"] for pair in (("Anna", "Ben"), ("Anna", "Cl|eo"), ("Ben", "Cl|eo"))]
    assert [pair.count for pair in pooled] == [18, 12, 12]
    # On the 12 zones that all three read: ab+a, abc, abc+a.
    kappas = [_kappa(2, 1, 1, 12), _kappa(3, 0, 1, 12), _kappa(3, 0, 1, 12)]
    assert found[("Anna", "Ben", "Cl|eo"), "all zones"].kappa.value == pytest.approx(sum(kappas) / 3)


def _kappa(both, first, second, n):
    a, b = both + first, both + second
    chance = (a * b + (n - a) * (n - b)) / n**2
    return ((n - first - second) / n - chance) / (1 - chance)


def test_judgements_by_hand(compare):
    _, said = compare(ANNA, BEN)
    assert [(j.reader, j.regions, j.counts, j.agreeing.value) for j in said] == [
        ("Anna", "critical factors", (1, 0, 0), 1.0),
        ("Anna", "other candidates", (0, 1, 1), 0.0),
        ("Ben", "critical factors", (1, 0, 0), 1.0),
        ("Ben", "other candidates", (0, 1, 1), 0.0),
    ]


@pytest.fixture
def score(answers_file, rows, write_csv):
    def run(*options):
        paths = [write_csv("anna.csv", rows(*ANNA)), write_csv("cleo.csv", rows(*CLEO))]
        arguments = ["review", "--score", *paths, "--answers", answers_file, *options]
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    return run


def test_the_command_prints_tables(score):
    done = score()
    assert done.exit_code == 0, done.output
    assert "95 % intervals resample cases" in done.stdout
    assert "\n\nn/a: kappa is not defined where one side answers everything alike: " in done.stdout
    assert done.stdout.endswith("\n\nIntervals from few cases, below 30, are too narrow.\n")
    assert "| Anna | 4 | 3 |" in done.stdout
    assert "| Cl/eo | 2 | 0 |" in done.stdout
    assert "| Anna and network | zone b, right middle | 3 | 1.00 | 1.000 (1.00 to 1.00) |" in done.stdout
    assert "| Anna and Cl/eo | zone d, left upper | 2 | 1.00 | n/a |" in done.stdout
    assert "| Anna | critical factors | 1 | 0 | 0 | 1.000 (1.00 to 1.00) |" in done.stdout


def test_json_holds_every_answer(score):
    found = json.loads(score("--format", "json").stdout)
    assert found["schema"] == "cxrs-edge/agreement/1"
    assert found["cases"][0] == {
        "case": 1,
        "source": "xrays/p1-1.png",
        "network": {"level": 2, "zones": "abc", "critical": [True, False]},
        "readers": {
            "Anna": {"zones": "ab", "regions": ["agree", "partly"]},
            "Cl|eo": {"zones": "abc", "regions": [None, None]},
        },
    }
    (zone,) = [a for a in found["agreement"] if a["between"] == ["Anna", "network"] and a["on"] == "zone d"]
    assert zone["kappa"] == {"value": None, "low": None, "high": None, "undefined_share": 1.0}


def test_patients_are_resampled_if_they_are_told(score, tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("image_id,patient_id\np1-1,p1\np1-2.png,p1\np2-3,p2\np2-4,p2\n")
    assert "95 % intervals resample patients" in score("--patients", table).stdout
    table.write_text("image_id,patient_id\np1-1,p1\n")
    done = score("--patients", table)
    assert done.exit_code == 1
    assert "no patient_id for image_id p1-2.png, a case of the booklet" in done.stderr
    table.write_bytes(b"\xff\xfe")
    assert "not a UTF-8 CSV" in score("--patients", table).stderr
    table.write_text('image_id,patient_id\n"p1-1,p1\n')
    assert "not a UTF-8 CSV" in score("--patients", table).stderr
    assert "can't be read: No such file" in score("--patients", tmp_path / "none.csv").stderr


def test_scoring_needs_the_answers(rows, write_csv):
    done = CliRunner().invoke(main, ["review", "--score", str(write_csv("anna.csv", rows(*ANNA)))])
    assert done.exit_code == 2
    assert "--score needs --answers" in done.stderr
