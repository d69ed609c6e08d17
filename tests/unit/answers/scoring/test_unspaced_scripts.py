"""Scripts without spaces: which texts are written in one, how they are cut, and the scores of their captions."""

from __future__ import annotations

import numpy as np
import pytest

from sightweave.answers.metrics import bleu, chair, cider_d, meteor, rouge_l, sacre_bleu, spice, ter
from sightweave.answers.scoring import unspaced_scripts
from sightweave.core.errors import DataError
from sightweave.core.types import Region, Sample

CHINESE = "\u4e00\u53ea\u7ea2\u8272\u7684\u72d7\u5728\u8349\u5730\u4e0a\u3002"
NEARLY = "\u4e00\u53ea\u767d\u8272\u7684\u72d7\u5728\u8349\u5730\u4e0a"
JAPANESE = "\u3053\u308c\u306f\u8d64\u3044\u72ac\u3067\u3059\u3002"
THAI = "\u0e41\u0e21\u0e27\u0e2a\u0e35\u0e41\u0e14\u0e07\u0e2d\u0e22\u0e39\u0e48\u0e1a\u0e19\u0e40\u0e15\u0e35\u0e22\u0e07"


def sample(*references: str, number: int = 0, languages: str = "") -> Sample:
    tags = {"languages": languages} if languages else {}
    return Sample(
        id=f"s{number}", task="captioning", parts=(), references=references, group=f"g{number}", tags=tags
    )


@pytest.mark.parametrize(
    ("text", "script"),
    [
        (CHINESE, "Han"),
        (JAPANESE, "Japanese"),
        (THAI, "Thai"),
        ("\u0eaa\u0eb0\u0e9a\u0eb2\u0e8d\u0e94\u0eb5", "Lao"),
        ("\u1781\u17d2\u1798\u17c2\u179a", "Khmer"),
        ("\u1019\u103c\u1014\u103a\u1019\u102c", "Burmese"),
        ("\u0f56\u0f7c\u0f51\u0f0b", "Tibetan"),
        ("\ud55c\uad6d\uc5b4 \ubb38\uc7a5", ""),
        ("a dog with the word \u72d7", ""),
        ("a red dog", ""),
        ("12 !?", ""),
        ("", ""),
    ],
)
def test_which_texts_have_no_spaces(text: str, script: str) -> None:
    assert unspaced_scripts.unspaced([text]) == script


def test_texts_are_cut_into_characters_and_other_words_stay() -> None:
    assert unspaced_scripts.cut("\u4e00\u53eadog\u5728 5kg") == "\u4e00 \u53ea dog \u5728 5kg"
    assert (
        unspaced_scripts.cut("\u0e2a\u0e35\u0e41") == "\u0e2a\u0e35 \u0e41"
    )  # a vowel above stays with its consonant
    assert unspaced_scripts.cut("a  red dog") == "a red dog"


@pytest.mark.parametrize("text", [CHINESE, JAPANESE, THAI])
def test_captions_without_spaces_are_scored_by_their_characters(text: str) -> None:
    near = text[:2] + text[3:]
    for kind in (bleu, rouge_l):
        metric = kind.Config().build()
        score = [
            float(metric.total(metric.rows([said], [sample(text)]).sum(0))) for said in (text, near, "x")
        ]
        assert score[0] == pytest.approx(1)
        assert 0.3 < score[1] < 1
        assert score[2] < 1e-3
        assert metric.signature([sample(text)]) == "tok:char"
        assert metric.signature([sample("a dog")]) == ""
        assert metric.signature([sample(text), sample("a dog")]) == "tok:char for 1 of 2, else ptb"


def test_cider_of_chinese_captions_counts_their_characters() -> None:
    """One token a sentence gave 2.5 of 10 to a perfect caption, and 0 to one that is nearly so."""
    texts = [chr(0x4E00 + 7 * n) + CHINESE[:5] + chr(0x4F00 + 3 * n) + CHINESE[5:] for n in range(12)]
    samples = [sample(text, number=n) for n, text in enumerate(texts)]
    metric = cider_d.Config().build()
    assert metric.total(metric.rows(texts, samples).sum(0)) == pytest.approx(10)
    assert (
        metric.total(metric.rows([text[:-1] for text in texts], samples).sum(0)) > 9
    )  # the full stop is none
    assert 1 < metric.total(metric.rows([text[:8] for text in texts], samples).sum(0)) < 9


@pytest.mark.parametrize(
    ("text", "languages"), [(CHINESE, "en-zh"), (JAPANESE, "en-ja"), (THAI, "en-th"), (THAI, "")]
)
def test_ter_counts_characters_as_words(text: str, languages: str) -> None:
    metric = ter.Config().build()
    (edits, words, _) = metric.rows([text[:-2] + text[-1]], [sample(text, languages=languages)])[0]
    assert (edits, words) == (1, len(unspaced_scripts.cut(text).split()))
    assert metric.signature([sample(text, languages=languages)]).endswith("|cut:char")
    whole = ter.Config(cut="never").build()
    assert whole.rows([text], [sample(text, languages=languages)])[0].tolist() == [0, 1, 1]
    assert "cut" not in whole.signature([sample(text, languages=languages)])
    with pytest.raises(ValueError, match="cut must be auto or never"):
        ter.Ter(cut="always")


def test_bleu_of_thai_is_of_characters_and_codes_of_three_letters_are_known() -> None:
    metric = sacre_bleu.Config().build()
    assert metric.total(metric.rows([THAI[:-1]], [sample(THAI, languages="en-th")]).sum(0)) > 0.8
    assert "tok:char" in metric.signature([sample(THAI, languages="en-tha")])
    assert "tok:zh" in metric.signature([sample(CHINESE, languages="eng-zho")])
    assert "tok:zh" in metric.signature([sample(CHINESE)])
    assert "tok:13a" in metric.signature([sample("ein Hund", languages="en-de")])


@pytest.mark.parametrize("kind", [bleu, sacre_bleu])
def test_answers_too_short_for_bleu_have_its_effective_order_beside_it(kind) -> None:
    metric = kind.Config().build()
    texts = ["\u7ea2\u8272", "\u72d7"]
    samples = [sample(text, languages="en-zh") for text in texts]
    sums = metric.rows(texts, samples).sum(0)
    assert metric.total(sums) < 0.1
    assert metric.totals(sums)["effective_order"] == pytest.approx(1)
    wrong = metric.rows(["\u7ea2\u732b", "\u732b"], samples).sum(0)
    assert metric.totals(wrong)["effective_order"] < 0.7
    long = metric.rows([CHINESE], [sample(CHINESE, languages="en-zh")]).sum(0)
    assert np.isnan(metric.totals(long)["effective_order"])  # BLEU itself is the score


@pytest.mark.parametrize("kind", [meteor, spice, chair])
def test_metrics_of_english_words_refuse_other_scripts(kind) -> None:
    region = Region(box=(0, 0, 1, 1), words=("dog",))
    dog = Sample(id="s", task="captioning", parts=(), references=(CHINESE,), regions=(region,))
    with pytest.raises(
        DataError, match=r": not computed: it supports English only, but the.*1 of 1 samples.*Han"
    ):
        kind.Config().build().rows([CHINESE], [dog])
