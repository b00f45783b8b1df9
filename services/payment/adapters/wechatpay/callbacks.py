"""WeChat Pay's callbacks: verified as they came, opened with our APIv3 key, and understood."""

from datetime import UTC, datetime

from services.payment.adapters.channels.rsa_signatures import NotVerified
from services.payment.adapters.wechatpay.calls import read
from services.payment.adapters.wechatpay.cashier import WechatpayAccount
from services.payment.adapters.wechatpay.keys import WechatpayKeys
from services.payment.adapters.wechatpay.messages import (
    Event,
    RefundTold,
    Resource,
    Transaction,
    told_by_transaction,
)
from services.payment.adapters.wechatpay.signing import check_signature, decrypt_resource
from services.payment.domain.channel_notification import (
    NotificationRefused,
    RawNotification,
    RefusalReason,
    VerifiedNotification,
)
from shared.kernel.money import CURRENCY

PAID_EVENT = "TRANSACTION.SUCCESS"
REFUND_EVENTS = frozenset({"REFUND.SUCCESS", "REFUND.ABNORMAL", "REFUND.CLOSED"})
ALGORITHM = "AEAD_AES_256_GCM"


def verified(
    notification: RawNotification,
    *,
    account: WechatpayAccount,
    keys: WechatpayKeys,
    now: datetime,
) -> VerifiedNotification:
    """Raises NotificationRefused. Only TRANSACTION.SUCCESS moves a payment."""
    try:
        check_signature(notification.headers, notification.body, keys=keys.platform, now=now)
        event = read(notification.body, Event)
        return _told_by(event, account, keys)
    except NotVerified as refused:
        raise NotificationRefused(refused.reason) from None
    except ValueError:
        raise NotificationRefused(RefusalReason.MALFORMED) from None


def check_addressee(account: WechatpayAccount, *, app_id: str, merchant_id: str) -> None:
    """Raises NotificationRefused for what is told to somebody else."""
    if app_id != account.app_id:
        raise NotificationRefused(RefusalReason.OTHER_APP)
    if merchant_id != account.merchant_id:
        raise NotificationRefused(RefusalReason.OTHER_MERCHANT)


def _told_by(event: Event, account: WechatpayAccount, keys: WechatpayKeys) -> VerifiedNotification:
    at = event.create_time.astimezone(UTC)
    if event.event_type == PAID_EVENT:
        transaction = read(_opened(event.resource, keys), Transaction)
        check_addressee(account, app_id=transaction.appid, merchant_id=transaction.mchid)
        if transaction.amount.currency != CURRENCY:
            raise NotificationRefused(RefusalReason.OTHER_CURRENCY)
        is_payment = transaction.trade_state == "SUCCESS"
        answer = told_by_transaction(transaction) if is_payment else None
        return VerifiedNotification(event.id, transaction.out_trade_no, answer, at)
    if event.event_type in REFUND_EVENTS:
        refund = read(_opened(event.resource, keys), RefundTold)
        check_addressee(account, app_id=account.app_id, merchant_id=refund.mchid)
        return VerifiedNotification(event.id, refund.out_trade_no, None, at)
    # The channel's self-test (SECURITY_ECHO.SUCCESS), or something newer than this code.
    return VerifiedNotification(event.id, "", None, at)


def _opened(resource: Resource | None, keys: WechatpayKeys) -> bytes:
    """In clear. While the APIv3 key changes, the old and the new one are tried."""
    if resource is None or resource.algorithm != ALGORITHM:
        raise NotVerified(RefusalReason.MALFORMED)
    for key in keys.apiv3:
        try:
            return decrypt_resource(
                key=key,
                nonce=resource.nonce,
                associated_data=resource.associated_data,
                ciphertext=resource.ciphertext,
            )
        except NotVerified:
            continue
    raise NotVerified(RefusalReason.DECRYPTION)
