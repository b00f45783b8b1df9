"""A sandbox whose notifications have stopped says that it is not ready."""

from pathlib import Path

import httpx2

from sandbox.app import build_app
from sandbox.book import open_book
from sandbox.channels import CashierChannels
from sandbox.faults.faults import Faults
from sandbox.rsa import read_alipay_keys, read_wechatpay_keys
from sandbox.settings import SandboxSettings
from sandbox.tests.running import eventually


async def test_a_task_that_broke_ends_readiness(tmp_path: Path, channel_key_folder: Path) -> None:
    settings = SandboxSettings(http_port=1, data_dir=tmp_path)
    book = open_book(tmp_path)
    faults = Faults(book, seed=1)
    channels = CashierChannels(
        settings,
        book=book,
        faults=faults,
        alipay_keys=read_alipay_keys(channel_key_folder / "sandbox" / "alipay"),
        wechatpay_keys=read_wechatpay_keys(channel_key_folder / "sandbox" / "wechatpay"),
    )
    app = build_app(settings, book=book, faults=faults, channels=channels)
    transport = httpx2.ASGITransport(app)

    async with (
        httpx2.AsyncClient(transport=transport, base_url="http://sandbox") as client,
        channels.running(),
    ):
        ready = await client.get("/health/ready")
        book.execute("DROP TABLE trade")
        broken = await _after_a_tick(client)

    book.close()
    assert ready.status_code == 200
    assert (broken.status_code, broken.json()["code"]) == (503, "not_ready")


async def _after_a_tick(client: httpx2.AsyncClient) -> httpx2.Response:
    answers: list[httpx2.Response] = []

    async def is_broken() -> bool:
        answers.append(await client.get("/health/ready"))
        return answers[-1].status_code == 503

    await eventually(is_broken)
    return answers[-1]
