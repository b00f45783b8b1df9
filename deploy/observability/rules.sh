#!/usr/bin/env bash
# Checks the rules, their unit tests, both configurations and the dashboard's queries: with promtool
# and amtool from PATH, else from the images of docker-compose.yml. Exit 2 where neither is there.
set -euo pipefail
cd "$(dirname "$0")"
. ../../.env

tool() {
  local name=$1 image=$2
  shift 2
  if command -v "$name" >/dev/null; then
    "$name" "$@"
  elif docker image inspect "$image" >/dev/null 2>&1; then
    docker run --rm --interactive --network none --volume "$PWD:/observability:ro" --workdir /observability \
      --entrypoint "$name" "$image" "$@"
  else
    echo "There is neither $name nor an engine with the image $image: install one of them." >&2
    exit 2
  fi
}

# Each query of the dashboard as a rule, on standard input: only its grammar is looked at.
queries_as_rules() {
  python3 -c '
import json
panels = json.load(open("grafana/dashboards/overview.json"))["panels"]
queries = [target["expr"] for panel in panels for target in panel["targets"]]
rules = [
    {"record": f"query:{number}", "expr": query.replace("$__rate_interval", "5m")}
    for number, query in enumerate(queries)
]
print(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))'
}

prometheus=prom/prometheus:$PROMETHEUS_TAG
tool promtool "$prometheus" check rules --lint=all --lint-fatal rules/songhe.yml
tool promtool "$prometheus" test rules rules/songhe_test.yml
tool promtool "$prometheus" check config --lint=all --lint-fatal prometheus.yml
tool amtool "prom/alertmanager:$ALERTMANAGER_TAG" check-config alertmanager.yml
queries_as_rules | tool promtool "$prometheus" check rules
