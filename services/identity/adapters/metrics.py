"""What an SRE watches of logging in: codes sent against sessions opened shows SMS pumping."""

from prometheus_client import Counter

from services.identity.application.ports import SmsOutcome
from services.identity.domain.refusal import OUTAGES, REFUSALS
from services.identity.domain.session import RefreshVerdict
from shared.runtime.ground.metrics import REGISTRY

SMS_SENDS = Counter(
    "songhe_identity_sms_sends_total", "SMS with codes", ["outcome"], registry=REGISTRY
)
SESSIONS_OPENED = Counter(
    "songhe_identity_sessions_opened_total", "Log-ins with a right code", registry=REGISTRY
)
REFRESHES = Counter(
    "songhe_identity_refreshes_total", "Refresh tokens shown", ["verdict"], registry=REGISTRY
)
REFUSED_REQUESTS = Counter(
    "songhe_identity_refusals_total", "Requests refused", ["code"], registry=REGISTRY
)

for _outcome in SmsOutcome:
    SMS_SENDS.labels(_outcome.value)
for _verdict in RefreshVerdict:
    REFRESHES.labels(str(_verdict))
for _code in REFUSALS | OUTAGES:
    REFUSED_REQUESTS.labels(_code)
