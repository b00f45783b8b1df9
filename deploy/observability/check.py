"""Whether Prometheus reaches every target and evaluates every rule: one sentence, exit 0 or 1.

Usage: python3 check.py [PROMETHEUS_URL]. Needs nothing but Python. What is not known yet, right
after a start, is waited for.
"""

import json
import re
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

RULES = Path(__file__).parent / "rules" / "songhe.yml"
SETTLING_SECONDS = 60


def main(url: str) -> int:
    deadline = time.monotonic() + SETTLING_SECONDS
    while (faults := _faults(url)) and time.monotonic() < deadline:
        time.sleep(1)
    if faults:
        sys.stderr.write(f"Prometheus at {url}: {'; '.join(faults)}.\n")
        return 1
    targets, rules = _targets(url), _rules(url)
    firing = sorted({rule["name"] for rule in rules if rule["state"] == "firing"})
    says = f"these alerts fire: {', '.join(firing)}" if firing else "no alert fires"
    sys.stdout.write(
        f"All {len(targets)} targets are up and all {len(rules)} rules are loaded; {says}.\n"
    )
    return 0


def _faults(url: str) -> list[str]:
    """What is wrong, in words; empty where all is well."""
    try:
        targets, rules = _targets(url), _rules(url)
    except (OSError, ValueError, KeyError) as error:
        return [f"it does not answer ({error})"]
    faults = [
        f"{target['scrapeUrl']} is {target['health']}{_because(target)}"
        for target in targets
        if target["health"] != "up"
    ]
    faults += [
        f"rule {rule['name']} is {rule['health']}{_because(rule)}"
        for rule in rules
        if rule["health"] != "ok"
    ]
    wanted = len(re.findall(r"- (?:alert|record):", RULES.read_text()))
    if len(rules) != wanted:
        faults.append(f"{len(rules)} of {wanted} rules are loaded")
    return faults or ([] if targets else ["it has no targets"])


def _because(thing: dict[str, Any]) -> str:
    return f" ({thing['lastError']})" if thing.get("lastError") else ""


def _targets(url: str) -> list[dict[str, Any]]:
    targets: list[dict[str, Any]] = _get(f"{url}/api/v1/targets?state=active")["activeTargets"]
    return targets


def _rules(url: str) -> list[dict[str, Any]]:
    return [rule for group in _get(f"{url}/api/v1/rules")["groups"] for rule in group["rules"]]


def _get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=5) as response:
        return json.load(response)["data"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1].rstrip("/") if len(sys.argv) > 1 else "http://127.0.0.1:9090"))
