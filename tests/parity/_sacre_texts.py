"""Made-up translations for the comparison with sacreBLEU: 2,100 drawn ones and 784 hard ones, always the same."""

from __future__ import annotations

import random
from dataclasses import dataclass

from sightweave.core.types import Sample

_VOCABULARY = (
    "the a dog dogs Maus mouse roter kleine Hund hund under neben Tisch table it's don't 3 1,000.50 2024-05 U.S. e.g. "
    "caf\u00e9 stra\u00dfe \u043a\u043e\u0448\u043a\u0430 \u043a\u0440\u0430\u0441\u043d\u044b\u0439 l'homme "
    "rock-and-roll left-hand \u72d7 \u8001\u9f20 \u4e00\u53ea\u7ea2\u8272\u7684 running bigger (small) \u00bbja\u00ab"
)
WORDS = _VOCABULARY.split()
MARKS = (".", ",", "!", "?", ";", " -", "...", "\u3002", '"')
HARD = (
    "",
    " ",
    ".",
    "...",
    "\n",
    "a",
    "A",
    "a b",
    "a b c",
    "a b c d",
    "the " * 150,
    "x" * 400,
    "&quot;Hi&quot; &amp; &lt;co&gt;",
    "<skipped> a <skipped>",
    "foo-\nbar baz",
    "it's don't we'll o'clock",
    "1,000.50 3-4 5. 6 ,7 8%",
    "a\tb\u00a0c\u2003d\u200be",
    "caf\u00e9 cafe\u0301 CAF\u00c9",
    "\U0001f600 \U0001f469\u200d\U0001f680 ok",
    "\u4e00\u53ea\u7ea2\u8272\u7684\u8001\u9f20\u3002",
    "\u8fd9\u662f mouse\uff0c\u4e0d\u662f dog\uff01",
    "\u3053\u308c\u306f\u72ac\u3067\u3059\u3002",
    "\u0645\u0631\u062d\u0628\u0627 \u0643\u0644\u0628",
    "line\u2028break\u2029 \r\n end ",
    "(((a))) [b] {c} -- __d__ $5 #6 @x",
    "d c b a",
    "a b c d a b c d e f g h",
)


@dataclass(frozen=True)
class Corpus:
    """Answers with their samples."""

    name: str
    answers: list[str | None]
    samples: list[Sample]

    def streams(self, rows: list[int] | None = None) -> tuple[list[str], list[list[str | None]]]:
        """Hypotheses and references as sacreBLEU takes them, of all rows or of these."""
        rows = list(range(len(self.samples))) if rows is None else rows
        most = max(len(self.samples[n].references) for n in rows)
        padded = [(*self.samples[n].references, *[None] * most)[:most] for n in rows]
        return [self.answers[n] or "" for n in rows], [list(stream) for stream in zip(*padded, strict=True)]


def sample(*references: str, languages: str = "en-de") -> Sample:
    return Sample(id="x", task="translation", parts=(), references=references, tags={"languages": languages})


def drawn(languages: str = "en-de", count: int = 700, seed: int = 0) -> Corpus:
    """Sentences, and answers that differ from them by some edits; one to four references each; some are missing."""
    rng = random.Random(seed)
    answers: list[str | None] = []
    samples = []
    for _ in range(count):
        text = _sentence(rng)
        references = [text, *(_edited(rng, text) for _ in range(rng.choice((0, 0, 0, 1, 3))))]
        rng.shuffle(references)
        answers.append(None if rng.random() < 0.02 else _edited(rng, text))
        samples.append(sample(*references, languages=languages))
    return Corpus(f"drawn {languages}", answers, samples)


def hard(languages: str = "en-de") -> Corpus:
    """Every hard text against every other."""
    pairs = [(answer, reference) for answer in HARD for reference in HARD]
    return Corpus(
        f"hard {languages}", [a for a, _ in pairs], [sample(r, languages=languages) for _, r in pairs]
    )


def draws(corpus: Corpus, count: int = 20, seed: int = 1, largest: int = 1000) -> list[list[int]]:
    """Rows drawn with replacement, as a bootstrap does."""
    rng = random.Random(seed)
    size = len(corpus.samples)
    return [
        [rng.randrange(size) for _ in range(rng.choice((1, 3, min(size, largest))))] for _ in range(count)
    ]


def _sentence(rng: random.Random) -> str:
    words = [rng.choice(WORDS) for _ in range(rng.randint(1, 18))]
    words = [word + rng.choice(MARKS) if rng.random() < 0.15 else word for word in words]
    return " ".join(words) + rng.choice(("", ".", " .", "!"))


def _edited(rng: random.Random, text: str) -> str:
    words = text.split(" ")
    for _ in range(rng.choice((0, 1, 2, 3, 8))):
        place = rng.randrange(len(words))
        edit = rng.choice(("drop", "add", "change", "case", "shift", "repeat"))
        if edit == "drop" and len(words) > 1:
            del words[place]
        elif edit == "add":
            words.insert(place, rng.choice(WORDS))
        elif edit == "change":
            words[place] = rng.choice(WORDS)
        elif edit == "case":
            words[place] = words[place].swapcase()
        elif edit == "shift":
            stop = place + rng.randint(1, 3)
            words = words[stop:] + words[place:stop] + words[:place]
        elif edit == "repeat":
            words[place:place] = words[place : place + 2]
    return " ".join(words)
