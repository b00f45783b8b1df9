"""Phone numbers, checked with Google's libphonenumber data: mobile, valid, of a country served."""

import re
from collections.abc import Iterable

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat, PhoneNumberType

from services.identity.domain.phone import Phone
from services.identity.domain.refusal import refused

E164 = re.compile(r"\+[1-9][0-9]{6,14}")
MOBILE_TYPES = (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE)


class ServedPhoneNumbers:
    """The port `PhoneNumbers`; `calling_codes` is an allow-list against toll fraud abroad."""

    def __init__(self, calling_codes: Iterable[int]) -> None:
        self._calling_codes = frozenset(calling_codes)

    def accept(self, text: str) -> Phone:
        """E.164 only: guessing a country would send codes to strangers."""
        if E164.fullmatch(text) is None:
            raise refused("phone_malformed")
        try:
            number = phonenumbers.parse(text)
        except NumberParseException:
            raise refused("phone_malformed") from None
        if number.country_code not in self._calling_codes:
            raise refused("phone_country_not_served")
        canonical = phonenumbers.format_number(number, PhoneNumberFormat.E164)
        is_mobile = phonenumbers.number_type(number) in MOBILE_TYPES
        if canonical != text or not phonenumbers.is_valid_number(number) or not is_mobile:
            raise refused("phone_malformed")
        return Phone(canonical)
