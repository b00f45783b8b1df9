"""The stream process as it is, over topics of one test: `… stream_process <app> <topics> <out>`."""

import sys
from dataclasses import replace

from services.notifier.main import COMMANDS
from services.notifier.settings import NotifierSettings, StreamSettings
from services.notifier.wiring.stream import run_stream
from shared.runtime.process.commands import main
from shared.runtime.process.settings import read_settings


async def stream(_settings: NotifierSettings) -> int:
    app_id, topics, announced = sys.argv[1:]
    return await run_stream(
        read_settings(StreamSettings),
        app_id=app_id,
        topics=tuple(topics.split(",")),
        announced=announced,
    )


if __name__ == "__main__":
    main(replace(COMMANDS, processes={"stream": stream}), ["stream"])
