"""Which services there are: the packages below `services`."""

import pkgutil

import services


def service_names() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(services.__path__))
