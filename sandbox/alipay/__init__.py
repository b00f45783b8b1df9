"""Alipay's open platform as its documents describe it (OpenAPI 2.0, RSA2, public key mode)."""
