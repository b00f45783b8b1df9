"""Whatever is refused in words of ours, anywhere, leaves in the caller's language."""

import httpx2
import pytest
from fastapi import APIRouter

from shared.kernel.errors import WordedOutage, WordedRefusal
from shared.kernel.wording import Language, Wording
from shared.runtime.http.languages import in_language
from shared.runtime.http.web import build_app
from shared.runtime.keys.tokens import TokenRefused

WORDS = Wording("已经缴过了。", "It is paid.")
FAULTS: dict[str, Exception] = {
    "refused": WordedRefusal("already_paid", WORDS, status=409, extra={"order": "42"}),
    "ended": WordedRefusal("session_ended", WORDS, status=401),
    "busy": WordedOutage("busy", WORDS, retry_after_seconds=7),
}
ENGLISH = {"Accept-Language": "en-GB,en;q=0.9,zh;q=0.1"}
router = APIRouter(prefix="/demo/v1")


@router.get("/faults/{name}")
async def fail(name: str) -> None:
    raise FAULTS[name]


@pytest.fixture
def client() -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app=build_app("demo", router=router))
    return httpx2.AsyncClient(transport=transport, base_url="http://demo")


@pytest.mark.parametrize("name", list(FAULTS))
async def test_every_refusal_is_said_in_the_callers_language(
    client: httpx2.AsyncClient, name: str
) -> None:
    async with client:
        chinese = await client.get(f"/demo/v1/faults/{name}")
        english = await client.get(f"/demo/v1/faults/{name}", headers=ENGLISH)

    assert chinese.json()["detail"] == WORDS.zh
    assert english.json() == chinese.json() | {"detail": WORDS.en}
    assert english.status_code == chinese.status_code
    assert ("WWW-Authenticate" in english.headers) is (english.status_code == 401)
    assert english.headers.get("Retry-After") == ("7" if name == "busy" else None)


def test_a_refusal_keeps_what_it_says_to_programs() -> None:
    with pytest.raises(Exception, match="It is paid") as raised, in_language(Language.EN):
        raise FAULTS["refused"]

    assert getattr(raised.value, "code", None) == "already_paid"
    assert getattr(raised.value, "extra", None) == {"order": "42"}
    with pytest.raises(TokenRefused), in_language(Language.EN):
        raise FAULTS["ended"]
