"""Who may ask: Host against DNS rebinding, Origin against other sites' pages, the token."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8480",
        "127.0.0.1",
        "127.0.0.1:1",
        "[::1]:8480",
        "192.168.7.20:8480",
        "localhost.",
    ],
)
def test_addresses_and_own_names_are_answered(served, host):
    assert served.ask("GET", "/", headers={"Host": host}).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.example:8480",
        "[::1",
        "",
        "@localhost",
    ],
)
@pytest.mark.parametrize("path", ["/", "/api/about"])
def test_other_hosts_are_not(served, host, path):
    answer = served.ask("GET", path, headers={"Host": host})
    assert answer.status == 421
    assert answer.json["error"]["kind"] == "host"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://[broken"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_another_sites_page_can_not_use_the_api(served, draw_xray, headers):
    answer = served.grade(draw_xray().read_bytes(), headers=headers)
    assert answer.status == 403
    assert answer.json["error"]["kind"] == "origin"
    # It may hold a link to the page.
    assert served.ask("GET", "/", headers=headers).status == 200


def test_the_own_page_and_programs_can(served, draw_xray):
    data = draw_xray().read_bytes()
    own = {"Origin": served.address, "Sec-Fetch-Site": "same-origin"}
    assert served.grade(data, headers=own).status == 200
    assert served.grade(data, headers={"Sec-Fetch-Site": "none"}).status == 200
    assert served.grade(data).status == 200


def test_other_computers_need_the_token(serve, draw_xray):
    with serve("--host", "0.0.0.0", "--allow-host", "xray.clinic.example") as served:
        data, token = draw_xray().read_bytes(), served.token
        assert token is not None
        assert len(token) >= 32
        assert served.grade(data).status == 200
        assert any("Not encrypted" in line for line in served.said)
        for wrong in (
            "",
            token,
            f"Bearer {token}x",
            f"Bearer {token[:-1]}",
            "Bearer ",
            "Bearer \xe9",
            f"Basic {token}",
        ):
            answer = served.grade(data, headers={"Authorization": wrong})
            assert answer.status == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert token.encode() not in answer.body
        assert served.ask("GET", "/", headers={"Authorization": ""}).status == 200
        assert served.ask("GET", "/api/openapi.json", headers={"Authorization": ""}).status == 401
        assert served.ask("GET", "/", headers={"Host": "xray.clinic.example"}).status == 200
        assert served.ask("GET", "/", headers={"Host": "other.example"}).status == 421


def test_the_token_of_a_file_is_not_shown(serve, tmp_path, draw_xray):
    file = tmp_path / "token"
    file.write_text("correct horse battery\nnot this\n")
    with serve("--token-file", file) as served:
        assert served.token is None
        assert served.grade(draw_xray().read_bytes()).status == 401
        served.token = "correct horse battery"
        assert served.grade(draw_xray().read_bytes()).status == 200
        served.wait_for("refused: token")
        assert not any("horse" in line for line in served.said)
