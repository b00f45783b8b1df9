"""The SMS gateway accepts a reference once and delivers a moment later."""

import httpx2

from sandbox.tests.running import a_message, eventually

MESSAGES = "/sms/v1/messages"


async def test_an_accepted_message_is_delivered_after_a_moment(
    sandbox: httpx2.AsyncClient,
) -> None:
    message = a_message()

    answer = await sandbox.post(MESSAGES, json=message)

    assert answer.status_code == 202
    assert answer.json() == {"reference": message["reference"], "status": "accepted"}
    await eventually(lambda: _has_status(sandbox, message["reference"], "delivered"))


async def test_the_same_reference_again_is_no_second_message(sandbox: httpx2.AsyncClient) -> None:
    message = a_message()
    first = await sandbox.post(MESSAGES, json=message)

    second = await sandbox.post(MESSAGES, json=message)

    sent = (await sandbox.get("/sandbox/v1/sms")).json()["items"]
    assert (second.status_code, second.json()) == (first.status_code, first.json())
    assert [item["reference"] for item in sent] == [message["reference"]]


async def test_an_unknown_reference_is_not_found(sandbox: httpx2.AsyncClient) -> None:
    answer = await sandbox.get(f"{MESSAGES}/never-sent")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_clerk_sees_the_messages_of_one_phone_newest_last(
    sandbox: httpx2.AsyncClient,
) -> None:
    for phone, text in [("0", "first"), ("1", "other"), ("0", "second")]:
        await sandbox.post(MESSAGES, json=a_message(phone=f"+861380013800{phone}", text=text))

    one = await sandbox.get("/sandbox/v1/sms", params={"phone": "+8613800138000"})
    typed = await sandbox.get("/sandbox/v1/sms?phone=+8613800138000")
    everyone = await sandbox.get("/sandbox/v1/sms")

    assert [item["text"] for item in one.json()["items"]] == ["first", "second"]
    assert set(one.json()["items"][0]) == {
        "sent_at",
        "phone",
        "template",
        "text",
        "reference",
        "status",
    }
    assert typed.json()["items"] == one.json()["items"]
    assert [item["text"] for item in everyone.json()["items"]] == ["first", "other", "second"]


async def test_a_page_of_messages_holds_the_newest(sandbox: httpx2.AsyncClient) -> None:
    for number in range(3):
        await sandbox.post(MESSAGES, json=a_message(text=str(number)))

    newest = (await sandbox.get("/sandbox/v1/sms?limit=2")).json()
    older = (await sandbox.get(f"/sandbox/v1/sms?limit=2&cursor={newest['next_cursor']}")).json()

    assert [item["text"] for item in newest["items"]] == ["1", "2"]
    assert [item["text"] for item in older["items"]] == ["0"]
    assert older["next_cursor"] is None


async def _has_status(sandbox: httpx2.AsyncClient, reference: object, status: str) -> bool:
    answer = await sandbox.get(f"{MESSAGES}/{reference}")
    return bool(answer.json()["status"] == status)
