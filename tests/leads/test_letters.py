"""Letters in small and in capitals, as databases make them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ingestd.leads.letters import MOST_FORMS, ascii_lower, forms


@given(st.text(st.characters(codec="latin-1"), max_size=8))
def test_the_forms_of_a_text_have_the_one_that_lower_makes(text: str) -> None:
    assert len(forms(text)) <= 2**MOST_FORMS
    if sum(not char.isascii() for char in text) <= MOST_FORMS and "İ" not in text:
        assert ascii_lower(text) in forms(text) or any(len(char.lower()) > 1 for char in text)
