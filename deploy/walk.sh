#!/usr/bin/env bash
# One contribution from coverage to the notification, with curl: deploy/walk.sh [ENTRY [SANDBOX]].
# README.md shows the same commands; a test keeps both alike.
set -euo pipefail
entry=${1:-http://127.0.0.1:8080}
sandbox=${2:-http://127.0.0.1:8081}

# walk
field() { python3 -c 'import json,sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }
# What has a key may be repeated: the answer is, the order is not.
call() { curl -fsS --retry 30 --retry-delay 1 --retry-all-errors "$@"; }
new_key() { python3 -c 'import uuid; print(uuid.uuid4())'; }
json='Content-Type: application/json'
phone="+86199$(python3 -c 'import random; print(f"{random.randrange(10**8):08d}")')"
month=$(TZ=Asia/Shanghai date +%Y-%m)

# Is Beijing covered, and from which base? Before anybody logs in.
call "$entry/billing/v1/coverage?region=110000&scheme=flexible"

# Log in: ask for a code, read it where the sandbox keeps its SMS, exchange it for a token.
request=$(call "$entry/identity/v1/sms-codes" -H "$json" \
  -d "{\"phone\": \"$phone\", \"purpose\": \"login\"}" | field request_id)
code=$(call -G "$sandbox/sandbox/v1/sms" --data-urlencode "phone=$phone" | grep -oE '[0-9]{6}，' | tail -n 1 | tr -d '，')
token=$(call "$entry/identity/v1/sessions" -H "$json" \
  -d "{\"request_id\": \"$request\", \"code\": \"$code\"}" | field access_token)
me="Authorization: Bearer $token"

# Assess this month at the published floor, and pay. A repeated key repeats the answer, not the order.
contribution=$(call "$entry/billing/v1/contributions" -H "$me" -H "$json" -H "Idempotency-Key: $(new_key)" \
  -d "{\"scheme\": \"flexible\", \"region\": \"110000\", \"period\": \"$month\", \"base_fen\": 727000}" | field id)
order=$(call "$entry/billing/v1/contributions/$contribution/payment" -H "$me" -H "$json" \
  -H "Idempotency-Key: $(new_key)" -d '{}' | field payment_order_id)

# Watch it live: a ticket opens the stream once; it ends by itself. 404 means "not yet": ask again.
ticket=$(call -X POST \
  "$entry/payment/v1/orders/$order/stream-tickets" -H "$me" | field ticket)
call -N "$entry/payment/v1/orders/$order/events?ticket=$ticket"

# Paid, with words for people, and what the person was told.
for _ in $(seq 60); do
  [ "$(call "$entry/billing/v1/contributions/$contribution" -H "$me" | field status)" = paid ] && break
  sleep 1
done
call "$entry/billing/v1/contributions/$contribution" -H "$me" | grep '"status":"paid"'
call "$entry/notifier/v1/notifications" -H "$me"
