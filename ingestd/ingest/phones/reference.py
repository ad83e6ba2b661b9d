"""The truth about a number: the `phonenumbers` library itself, one number at a time (25-40 µs each)."""

from __future__ import annotations

from typing import NamedTuple

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat, ValidationResult

UNPARSEABLE = "phone_unparseable"
TOO_SHORT = "phone_too_short"
TOO_LONG = "phone_too_long"
INVALID_COUNTRY_CODE = "phone_invalid_country_code"
INVALID = "phone_invalid"
REASONS = (UNPARSEABLE, TOO_SHORT, TOO_LONG, INVALID_COUNTRY_CODE, INVALID)
"""Stable codes. `phone_too_short` includes local numbers, which lack their area code; `phone_invalid` has a possible
length but belongs to no range of its country."""

_REFUSED = {
    NumberParseException.INVALID_COUNTRY_CODE: INVALID_COUNTRY_CODE,
    NumberParseException.NOT_A_NUMBER: UNPARSEABLE,
    NumberParseException.TOO_SHORT_AFTER_IDD: TOO_SHORT,
    NumberParseException.TOO_SHORT_NSN: TOO_SHORT,
    NumberParseException.TOO_LONG: TOO_LONG,
}
_IMPOSSIBLE = {
    ValidationResult.TOO_SHORT: TOO_SHORT,
    ValidationResult.IS_POSSIBLE_LOCAL_ONLY: TOO_SHORT,
    ValidationResult.TOO_LONG: TOO_LONG,
}


MESSAGES = {
    UNPARSEABLE: "is not a phone number",
    TOO_SHORT: "is too short for a phone number",
    TOO_LONG: "is too long for a phone number",
    INVALID_COUNTRY_CODE: "does not begin with a known country code",
    INVALID: "is not a number that is in use in its country",
}
"""What each reason says about a number, for people."""


class Verdict(NamedTuple):
    """What libphonenumber says of one number; the fields are the columns of `normalise`."""

    e164: str | None
    reason: str | None
    extension: str | None


def verdict(number: str, region: str | None) -> Verdict:
    """Parses, checks and formats one number; `region` is one that libphonenumber knows, or None."""
    try:
        parsed = phonenumbers.parse(number, region)
    except NumberParseException as refused:
        return Verdict(e164=None, reason=_REFUSED[refused.error_type], extension=None)
    extension = parsed.extension or None
    if phonenumbers.is_valid_number(parsed):
        e164 = phonenumbers.format_number(parsed, PhoneNumberFormat.E164)
        return Verdict(e164=e164, reason=None, extension=extension)
    reason = _IMPOSSIBLE.get(phonenumbers.is_possible_number_with_reason(parsed), INVALID)
    return Verdict(e164=None, reason=reason, extension=extension)
