"""What Alipay signs: sorted parameters of requests and notifications, raw text of answers."""

from collections.abc import Iterable, Mapping

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from sandbox import rsa


def request_text(parameters: Mapping[str, str]) -> str:
    """All parameters that have a value, `sign_type` too, without `sign`."""
    return _joined({name: value for name, value in parameters.items() if value and name != "sign"})


def notification_text(parameters: Mapping[str, str]) -> str:
    """All parameters without `sign` and `sign_type`."""
    unsigned = ("sign", "sign_type")
    return _joined({name: value for name, value in parameters.items() if name not in unsigned})


def _joined(parameters: Mapping[str, str]) -> str:
    return "&".join(f"{name}={parameters[name]}" for name in sorted(parameters))


def is_request_signed(parameters: Mapping[str, str], keys: Iterable[RSAPublicKey]) -> bool:
    return rsa.is_signed(request_text(parameters), parameters.get("sign", ""), keys)


def signed_notification(parameters: Mapping[str, str], key: RSAPrivateKey) -> dict[str, str]:
    signature = rsa.sign(key, notification_text(parameters))
    return {**parameters, "sign_type": "RSA2", "sign": signature}


def signed_answer(root: str, body: str, key: RSAPrivateKey) -> str:
    """The signature covers the text of `body` exactly as it stands in the answer."""
    return f'{{"{root}":{body},"sign":"{rsa.sign(key, body)}"}}'
