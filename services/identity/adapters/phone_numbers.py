"""Phone numbers, checked with Google's libphonenumber data: mobile, valid, of a country served."""

import re
from collections.abc import Iterable

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat, PhoneNumberType

from services.identity.domain.phone import Phone
from services.identity.domain.refusal import refused

E164 = re.compile(r"\+[1-9][0-9]{6,14}")
# Issued to people, though the library lacks it: 149 began as China Telecom's data cards and is in
# phones (public reports of 2015 and 2017 name people with such numbers).
PERSONAL_RANGES = frozenset({"149"})
# All that China numbers as mobile, 13x to 19x; what is neither in the library nor above is for
# things (140, 146, 148, 1064), for satellites, or not known to be a person's.
MAINLAND_MOBILE = re.compile(r"\+86(?P<range>1[3-9][0-9])[0-9]{8}")
MOBILE_TYPES = (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE)


class ServedPhoneNumbers:
    """The port `PhoneNumbers`; `calling_codes` is an allow-list against toll fraud abroad."""

    def __init__(self, calling_codes: Iterable[int]) -> None:
        self._calling_codes = frozenset(calling_codes)

    def accept(self, text: str) -> Phone:
        """E.164 only: guessing a country would send codes to strangers.

        A number of the right form in a range that we do not know is refused by a word of its own:
        its owner wrote it rightly.
        """
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
        if canonical == text and phonenumbers.is_valid_number(number) and is_mobile:
            return Phone(canonical)
        mainland = MAINLAND_MOBILE.fullmatch(text)
        if mainland is None:
            raise refused("phone_malformed")
        if mainland["range"] not in PERSONAL_RANGES:
            raise refused("phone_range_not_supported")
        return Phone(text)
