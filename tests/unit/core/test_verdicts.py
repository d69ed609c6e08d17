"""A task that cannot show a use of its images is shown as such, whatever is stored for it."""

import pytest

from sightweave.core.verdicts import use_of_image


@pytest.mark.parametrize("word", ["yes", "hardly", "partly", "no", "unknown"])
def test_a_task_that_needs_its_images_is_shown_its_word(word):
    assert use_of_image(word) == word


def test_only_a_lack_of_gain_is_excused():
    shown = {word: use_of_image(word, needs_image=False) for word in ("yes", "hardly", "no", "unknown")}
    assert shown == {"yes": "yes", "hardly": "not needed", "no": "not needed", "unknown": "unknown"}
