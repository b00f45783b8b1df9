"""The stream process of notifier, from its parts. faust is for this process alone."""

from services.notifier.adapters.channel_stream import ChannelStream
from services.notifier.adapters.channel_watch import ChannelWatch
from services.notifier.adapters.consumer import TOPICS
from services.notifier.settings import NotifierSettings, StreamSettings
from shared.kernel.clock import SystemClock
from shared.runtime.messaging.topics import CHANNELS_TOPIC, STREAM_APP
from shared.runtime.process.health import Health
from shared.runtime.process.process import run_process
from shared.runtime.process.settings import read_settings


async def stream(settings: NotifierSettings) -> int:
    """Observes how fast channels confirm. It writes no fact, and asks no database."""
    return await run_stream(read_settings(StreamSettings))


async def run_stream(
    settings: StreamSettings,
    *,
    app_id: str = STREAM_APP,
    topics: tuple[str, ...] = TOPICS,
    announced: str = CHANNELS_TOPIC,
) -> int:
    """The stream process over these topics, under this name."""
    clock, health = SystemClock(), Health()
    counting = ChannelStream(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        replication_factor=settings.kafka_replication_factor,
        clock=clock,
        health=health,
        app_id=app_id,
        topics=topics,
    )
    watch = ChannelWatch(
        counting.windows, settings.kafka_bootstrap_servers, clock=clock, topic=announced
    )
    return await run_process(
        [watch, counting],
        grace_seconds=settings.shutdown_grace_seconds,
        health=health,
        operations=settings.metrics_address(),
    )
