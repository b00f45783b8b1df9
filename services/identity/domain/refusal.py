"""Every refusal of this service: its stable code, its HTTP status and what a person reads.

No text says whether a phone number is known here.
"""

from shared.kernel.errors import WordedOutage, WordedRefusal
from shared.kernel.wording import Wording

REFUSALS: dict[str, tuple[int, Wording]] = {
    "phone_malformed": (
        422,
        Wording(
            "手机号格式不对。请写成 +86 加 11 位号码，例如 +8613800138000。",
            "This is not a mobile number. Write it like +8613800138000.",
        ),
    ),
    "phone_range_not_supported": (
        422,
        Wording(
            "这个号段暂不支持。号码没有写错的话，请换一个手机号，或与我们联系。",
            "This number range is not supported yet. Please use another mobile number.",
        ),
    ),
    "phone_country_not_served": (
        422,
        Wording(
            "目前不能向这个国家或地区的号码发送验证码。请使用中国大陆手机号。",
            "We cannot send codes to numbers in this country. Please use a mainland number (+86).",
        ),
    ),
    "sms_resend_too_soon": (
        429,
        Wording(
            "验证码刚刚发过。请稍等一会儿再重新获取。",
            "A code was sent a moment ago. Please wait before you request another.",
        ),
    ),
    "sms_limit_reached": (
        429,
        Wording(
            "这个号码获取验证码的次数太多了。请过一段时间再试。",
            "Too many codes were requested for this number. Please try again later.",
        ),
    ),
    "sms_address_limit_reached": (
        429,
        Wording(
            "您所在的网络获取验证码的次数太多了。请过一段时间再试，或换一个网络。",
            "Too many codes were requested from your network. Try again later or use another one.",
        ),
    ),
    "sms_daily_limit_reached": (
        429,
        Wording(
            "今天的验证码短信已经发完。请明天再试。已经登录的手机不受影响。",
            "We cannot send more text messages today. Please try again tomorrow. "
            "Phones already logged in are not affected.",
        ),
    ),
    "code_wrong": (
        422,
        Wording(
            "验证码不对。请核对最新一条短信。",
            "The code is wrong. Please check the latest text message.",
        ),
    ),
    "code_expired": (
        422,
        Wording(
            "验证码已经失效。请重新获取一个。",
            "This code no longer works. Please request a new one.",
        ),
    ),
    "session_ended": (
        401,
        Wording(
            "登录已结束。请重新登录。",
            "Your session has ended. Please log in again.",
        ),
    ),
    "refresh_in_progress": (
        409,
        Wording(
            "登录状态正在另一处更新。请稍后重试。",
            "Your session is being renewed by another request. Please use its answer.",
        ),
    ),
    "person_unknown": (404, Wording("没有这个人。", "There is no such person.")),
}

# What `Unavailable` says; nothing of it promises a text message that may not come.
OUTAGES: dict[str, Wording] = {
    "codes_unavailable": Wording(
        "现在不能登录，请几分钟后再试。已经登录的手机不受影响。",
        "Logging in does not work right now. Please try again in a few minutes. "
        "Phones already logged in are not affected.",
    ),
    "sms_unavailable": Wording(
        "短信现在发不出去，没有发送验证码。请稍后再试。",
        "Text messages cannot be sent now, so no code was sent. Please try again soon.",
    ),
}


def refused(code: str, *, retry_after_seconds: int | None = None, **extra: object) -> WordedRefusal:
    """The refusal of that code.

    `retry_after_seconds` becomes the header `Retry-After` as well as a member of the answer.
    """
    status, wording = REFUSALS[code]
    if retry_after_seconds is not None:
        extra["retry_after_seconds"] = retry_after_seconds
    return WordedRefusal(code, wording, status=status, extra=extra)


def outage(code: str) -> WordedOutage:
    """The outage of that code."""
    return WordedOutage(code, OUTAGES[code])
