"""The API of identity, from its parts."""

from collections.abc import Awaitable, Callable

from fastapi import FastAPI

from services.identity.adapters.http.api import Parts, router
from services.identity.adapters.keys.access_tokens import Es256AccessTokens
from services.identity.adapters.keys.vault import KeyVault
from services.identity.adapters.phone_numbers import ServedPhoneNumbers
from services.identity.adapters.postgres.sms_budget import PostgresSmsBudget
from services.identity.adapters.redis.client import open_redis
from services.identity.adapters.redis.codes import RedisCodes
from services.identity.adapters.redis.sms_slots import RedisSmsSlots
from services.identity.adapters.sms.gateway import HttpSmsGateway
from services.identity.application.send_code import SendCode
from services.identity.domain.sms_limits import SmsLimits
from services.identity.settings import ApiSettings, IdentitySettings
from services.identity.wiring.database import SERVICE, open_pool
from shared.kernel.clock import Clock, SystemClock
from shared.runtime.database.database import Database
from shared.runtime.ground.metrics import FORWARDED_UNREADABLE
from shared.runtime.http.client_address import ClientAddresses
from shared.runtime.http.server import serve
from shared.runtime.http.web import build_app
from shared.runtime.keys.access_token import AccessTokens, SigningKeys
from shared.runtime.keys.sealing import BlindIndex, Sealer
from shared.runtime.keys.service_token import ServiceTokens
from shared.runtime.process.health import service_health
from shared.runtime.process.process import run_process
from shared.runtime.process.settings import read_settings

# docs/connection-budget.md
API_CONNECTIONS = 2


def compose_api(
    settings: ApiSettings, database: Database, clock: Clock
) -> tuple[FastAPI, list[Callable[[], Awaitable[None]]]]:
    """The application, and what must be closed after it."""
    redis = open_redis(settings.redis_url.get_secret_value())
    gateway = HttpSmsGateway(settings.sms_url)
    vault = KeyVault(
        sealer=Sealer.from_folder(settings.phone_encryption_keys_dir),
        index=BlindIndex.from_file(settings.phone_index_key_file),
        code_index=BlindIndex.from_file(settings.sms_code_key_file),
    )
    codes = RedisCodes(redis)
    limits = SmsLimits(
        daily_max=settings.sms_daily_max,
        per_address_hourly_max=settings.sms_per_address_hourly_max,
    )
    send_code = SendCode(
        phone_numbers=ServedPhoneNumbers(settings.calling_codes),
        vault=vault,
        codes=codes,
        slots=RedisSmsSlots(redis, limits),
        budget=PostgresSmsBudget(database, daily_max=limits.daily_max),
        gateway=gateway,
        limits=limits,
        clock=clock,
    )
    signing_keys = SigningKeys(settings.access_token_keys_dir)
    app = build_app(
        SERVICE,
        router=router,
        access_tokens=AccessTokens(signing_keys),
        service_tokens=ServiceTokens(settings.service_public_keys_dir, audience=SERVICE),
    )
    app.state.parts = Parts(
        database=database,
        send_code=send_code,
        codes=codes,
        vault=vault,
        access_tokens=Es256AccessTokens(signing_keys),
        signing_keys=signing_keys,
        client_addresses=ClientAddresses(
            settings.trusted_networks, count_unreadable=FORWARDED_UNREADABLE.inc
        ),
        session_idle=settings.session_idle,
        clock=clock,
    )
    return app, [gateway.close, redis.aclose]


async def api(settings: IdentitySettings) -> int:
    """HTTP. Ready without Redis: open sessions still work, only log-ins answer 503."""
    settings = read_settings(ApiSettings)
    address = settings.http_address()
    clock = SystemClock()
    database = open_pool(settings, API_CONNECTIONS, clock)
    app, closing = compose_api(settings, database, clock)
    return await run_process(
        [serve(app, address.host, address.port)],
        closing=[*closing, database.close],
        grace_seconds=settings.shutdown_grace_seconds,
        health=service_health(database, service=SERVICE),
        operations=settings.metrics_address(),
    )
