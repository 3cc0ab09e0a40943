"""Who may ask what: names, tokens, forms of other sites, bodies without end."""

import hmac
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from shown_runs import CHANGES, studio_of

from advcam.errors import SettingError
from advcam.studio.access import Access, checked_access, is_loopback
from advcam.studio.app import create_app
from advcam.studio.studio import Studio

TOKEN = "a-token-of-many-letters"


@pytest.fixture
def guarded(run: Path) -> TestClient:
    """A stranger at a server with a token."""
    return TestClient(create_app(studio_of(run), Access(TOKEN, "advcam-8765")), base_url="http://10.0.0.5:8765")


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8765", "127.0.0.1:1", "[::1]:8765", "127.1.2.3", "x.localhost"]
)
def test_loopback_names_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/api/run", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "10.0.0.5", "localhost.evil.example", "", "[::2]"]
)
def test_a_name_that_was_pointed_here_is_refused(client: TestClient, host: str) -> None:
    """DNS rebinding: the page of evil.example asks a server whose address its name has just been given."""
    answer = client.get("/api/run", headers={"Host": host})
    assert answer.status_code == 421
    assert "answers to loopback names such as localhost" in answer.json()["detail"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_a_form_of_another_site_changes_nothing(client: TestClient, run: Path, method: str) -> None:
    del client.headers["X-Advcam"]
    for path in (
        "/api/pictures/0/status",
        "/api/pictures/0/mask?revision=0",
        "/api/drops",
        "/api/climbs",
        "/api/exports",
    ):
        answer = client.request(method, path, content=b'{"status":"rejected","revision":0}')
        assert answer.status_code == 403
        assert "X-Advcam" in answer.json()["detail"]
    assert not (run / "corrected").exists()


def test_scripts_of_other_origins_are_not_invited(client: TestClient) -> None:
    """No answer to a preflight allows the header, so browsers do not send the request behind it."""
    answer = client.options(
        "/api/climbs", headers={"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    )
    assert not any(name.startswith("access-control") for name in answer.headers)


@pytest.mark.parametrize("mode", ["no-cors", "cors", "same-origin"])
def test_pages_of_other_sites_get_no_pictures(client: TestClient, mode: str) -> None:
    """Nor do they make the server draw any: `<img src="http://localhost:8765/..">` a thousand times."""
    headers = {"Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": "image"}
    for path in ("/api/pictures/0/thumbnail", "/api/classifier/classes", "/static/main.js"):
        assert client.get(path, headers=headers | {"Sec-Fetch-Site": "cross-site"}).status_code == 403
    for site in ("same-origin", "none"):
        assert client.get("/api/pictures/0/thumbnail", headers=headers | {"Sec-Fetch-Site": site}).status_code == 200


def test_a_link_from_another_site_is_followed(client: TestClient) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert client.get("/", headers=headers).status_code == 200
    del client.headers["X-Advcam"]
    assert client.post("/api/exports", json={"format": "voc"}, headers=headers).status_code == 403


@pytest.mark.parametrize("path", ["/", "/api/run", "/static/main.js", "/api/openapi.json", "/nothing"])
def test_a_token_is_asked_for_everywhere(guarded: TestClient, path: str) -> None:
    answer = guarded.get(path)
    assert answer.status_code == 401
    assert "asks for its token" in answer.json()["detail"]
    assert guarded.get(path, headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert guarded.get(path, headers={"Cookie": "advcam-8765=wrong"}).status_code == 401
    assert guarded.get(f"{path}?token=wrong").status_code == 401
    assert guarded.get(path, headers={"Authorization": f"Bearer {TOKEN}"}).status_code in (200, 404)


def test_the_address_with_its_token_leaves_a_cookie(guarded: TestClient) -> None:
    answer = guarded.get(f"/?token={TOKEN}")
    assert answer.status_code == 200
    assert answer.headers["set-cookie"] == f"advcam-8765={TOKEN}; HttpOnly; SameSite=Strict; Path=/"
    assert guarded.get("/api/run").status_code == 200
    assert guarded.get("/api/run").headers.get("set-cookie") is None


def test_a_token_in_the_address_changes_nothing(guarded: TestClient) -> None:
    answer = guarded.post(f"/api/exports?token={TOKEN}", json={"format": "voc"}, headers=CHANGES)
    assert answer.status_code == 401


def test_with_a_token_the_header_is_asked_for_all_the_same(guarded: TestClient) -> None:
    answer = guarded.post("/api/exports", json={"format": "voc"}, headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "path", ["/", "/api/run", "/api/pictures/0/thumbnail", "/api/pictures/99", "/static/nothing.js"]
)
def test_every_answer_trusts_nothing_else(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["content-security-policy"].startswith("default-src 'self'; img-src 'self' data: blob:;")
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["x-frame-options"] == "DENY"
    assert headers["cache-control"] in ("no-store", "no-cache", "private, no-cache")


def test_a_failure_trusts_nothing_else_and_names_no_place(client: TestClient, studio: Studio) -> None:
    def fail(_: int) -> str:
        raise ZeroDivisionError("by <b>")

    studio.id_of = fail  # type: ignore[method-assign]
    answer = client.get("/api/pictures/0/image")
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/json")
    assert answer.json() == {"detail": "the studio failed (ZeroDivisionError: by <b>)"}
    assert answer.headers["content-security-policy"].startswith("default-src 'self'")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_refusals_trust_nothing_else(client: TestClient, guarded: TestClient) -> None:
    too_much = client.put("/api/pictures/0/status", content=bytes(70_000))
    for answer in (client.get("/", headers={"Host": "evil.example"}), guarded.get("/"), too_much):
        assert answer.status_code in (401, 413, 421)
        assert answer.headers["content-security-policy"].startswith("default-src 'self'")
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "set-cookie" not in answer.headers


def test_a_token_is_compared_in_constant_time(guarded: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return False

    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert guarded.get("/", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 401
    assert compared == [(TOKEN.encode(), TOKEN.encode())]


@pytest.mark.parametrize("asked", ["bytes=0-,0-,0-,0-", "bytes=" + ",".join(f"{k}-{k}" for k in range(0, 9000, 2))])
def test_many_ranges_cost_no_more_than_the_file(client: TestClient, asked: str) -> None:
    whole = client.get("/static/main.js")
    answer = client.get("/static/main.js", headers={"Range": asked})
    assert answer.status_code in (200, 206, 400, 416)
    assert len(answer.content) <= len(whole.content)


def test_a_server_that_others_reach_gets_a_token() -> None:
    assert checked_access("127.0.0.1", 1, None).token is None
    made = [checked_access("0.0.0.0", 1, None).token for _ in range(2)]
    assert made[0] != made[1]
    assert all(len(token or "") >= 32 for token in made)
    assert checked_access("127.0.0.1", 1, TOKEN).token == TOKEN
    for bad in ("short", "with a blank in it", "with;semicolon;in-it", "ü" * 20):
        with pytest.raises(SettingError, match="16 characters at least"):
            checked_access("127.0.0.1", 1, bad)


def test_what_is_loopback() -> None:
    assert all(map(is_loopback, ("localhost", "LOCALHOST", "localhost.", "127.0.0.1", "127.9.9.9", "::1")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "example.org", "localhost.example.org", "")))


def test_json_of_megabytes_is_not_read(client: TestClient) -> None:
    answer = client.put("/api/pictures/0/status", content=b" " * 70_000 + b'{"status":"accepted","revision":0}')
    assert answer.status_code == 413
    assert answer.json()["detail"] == "more than 64 KB, which is the most that is taken here"
    assert client.get("/api/pictures/0").json()["status"] == "open"
