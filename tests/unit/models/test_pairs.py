"""Which fusion goes with which language model."""

from sightweave.models.fusions import memory
from sightweave.models.language_models import decoder_only
from sightweave.models.pairs import declared, legal_pairs, refusal


def test_the_pairs_are_those_of_the_declared_places() -> None:
    pairs = legal_pairs()
    assert pairs["concat", "decoder_only"]
    assert pairs["memory", "encoder_decoder"]
    assert not pairs["memory", "decoder_only"]
    assert pairs["bilinear", "encoder_only"]
    assert not pairs["bilinear", "encoder_decoder"]


def test_a_refusal_names_the_partners_of_both() -> None:
    fusion = memory.Config().build(dim=32, num_heads=2, depth=1)
    model = decoder_only.Config(dim=32, depth=1, num_heads=2).build(vocab_size=64)
    assert type(fusion) is declared("models.fusions", "memory")
    assert refusal(fusion, model).endswith(
        "Fusions for DecoderOnly: addition, concat, cross_attention. Language models for "
        "MemoryFusion: encoder_decoder, from_transformers."
    )
