"""Thoughts are told from answers in every form that models write them, and answers about tags stay whole."""

import pytest

from sightweave.core.types import Prediction
from sightweave.programs.predictors._thinking import ends_open, is_tag, without_thoughts


def parted(text, finish="stop"):
    (found,) = without_thoughts([Prediction(text, logprob=-0.5, finish=finish)])
    return found.text, found.extra.get("thought")


@pytest.mark.parametrize(
    "text",
    [
        "<think>\nA dog?\n</think>\n\ncat",
        "  <think>A dog?</think> cat ",
        "<thinking>A dog?</thinking>cat",
        "<THINK>A dog?</THINK>cat",
        "<thought>A dog?</thought>cat",
        "<reasoning>A dog?</reasoning>cat",
        "<seed:think>A dog?</seed:think>cat",
        "[THINK]A dog?[/THINK]cat",
        "\u25c1think\u25b7A dog?\u25c1/think\u25b7cat",
        "<|begin_of_thought|>A dog?<|end_of_thought|><|begin_of_solution|>cat<|end_of_solution|>",
        "<|START_THINKING|>A dog?<|END_THINKING|><|START_RESPONSE|>cat<|END_RESPONSE|>",
        "<think>A dog?</think><answer> cat </answer>",
        "<think>A dog?</think>\n<|begin_of_box|>cat<|end_of_box|>",
        "A dog?</think>cat",
        "A dog?\n</think>\n\n<answer>cat</answer>",
        "<|channel|>analysis<|message|>A dog?<|end|><|start|>assistant<|channel|>final<|message|>cat<|return|>",
        "<|channel|>analysis<|message|>A dog?<|end|><|start|>assistant<|channel|>final <|constrain|>x<|message|>cat",
        "analysisA dog?assistantfinalcat",
        "<|channel>thought\nA dog?<channel|>cat",
        "<unused94>A dog?<unused95>cat",
    ],
)
def test_the_answer_follows_the_thoughts(text):
    assert parted(text) == ("cat", "A dog?")


@pytest.mark.parametrize(
    ("text", "answer", "thought"),
    [
        ("<think></think>cat", "cat", ""),
        ("<think>a</think>\n<think>b</think>\ncat", "cat", "ab"),
        ("<think>a<think>b</think>cat", "cat", "ab"),
        ("<think>a</think>b</think>cat", "cat", "ab"),
        ("Well.\n<think>a</think>\ncat", "Well.\n\ncat", "a"),
        ("<think>a</think> The tag <think> opens.", "The tag <think> opens.", "a"),
        ("<think>a</think>b\n<think>c", "", "b\nac"),
    ],
)
def test_several_blocks(text, answer, thought):
    assert parted(text) == (answer, thought)


@pytest.mark.parametrize("finish", ["stop", "length"])
@pytest.mark.parametrize(
    "text",
    [
        "<think>A dog",
        "<think>\nA dog",
        "[THINK]A dog",
        "<|channel|>analysis<|message|>A dog",
        "\n<thinking>A dog",
    ],
)
def test_a_block_that_is_never_closed_leaves_no_answer(text, finish):
    assert parted(text, finish) == ("", "A dog")


@pytest.mark.parametrize(
    "text",
    [
        "cat",
        "",
        "The tag is <think>.",
        "It says <think>cat</think>.",
        "<think>",
        "</think>",
        "<think></think>",
        "<thinker>cat</thinker>",
        "analysis of a cat",
        "A thinking cat: think!",
        "a < b and b > c",
    ],
)
def test_other_texts_stay_as_they_are(text):
    assert without_thoughts([Prediction(text, logprob=-0.5)]) == [Prediction(text, logprob=-0.5)]


def test_a_cut_tag_alone_is_a_thought():
    assert parted("<think>", "length") == ("", "")


def test_where_prompts_open_the_block_a_cut_text_without_tags_was_thinking():
    whole, cut = Prediction("a</think>cat"), Prediction("Perhaps", finish="length")
    assert [one.text for one in without_thoughts([whole, cut])] == ["cat", ""]
    assert without_thoughts([Prediction("<think>a</think>cat"), cut])[1] == cut


def test_prompts_that_end_inside_a_block():
    assert ends_open("user: what?\nassistant: <think>\n")
    assert not ends_open("user: what?\nassistant: <think>\n\n</think>\n\n")
    assert not ends_open("user: what is <think>?\nassistant:")
    assert is_tag("</think>")
    assert not is_tag("think")
