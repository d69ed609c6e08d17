"""The drawings of shapes and pictograms, as drawing commands (see ``raster.py``) on a square of 64 x 64 units.

They are bold, simple and saturated, so that they can be recognised at 20 pixels. The two senses of a homonym have different
drawings.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

COLORS = {
    "ink": (38, 34, 44),
    "white": (252, 252, 252),
    "pale": (224, 226, 232),
    "grey": (158, 162, 172),
    "slate": (92, 98, 112),
    "red": (222, 44, 42),
    "wine": (150, 24, 40),
    "rose": (246, 120, 150),
    "pink": (252, 180, 190),
    "orange": (246, 136, 30),
    "amber": (224, 168, 32),
    "yellow": (254, 216, 48),
    "cream": (252, 232, 186),
    "skin": (242, 192, 152),
    "tan": (216, 168, 108),
    "brown": (146, 88, 44),
    "bark": (92, 54, 30),
    "lime": (150, 206, 60),
    "green": (52, 158, 66),
    "pine": (22, 96, 52),
    "teal": (34, 170, 170),
    "sky": (128, 204, 248),
    "blue": (40, 104, 214),
    "navy": (28, 44, 112),
    "violet": (136, 72, 190),
}
"""RGB of the colours used in pictograms."""
RIM_COLOR = "ink"

SHAPES = {
    "circle": "rim 0\noval main 32,32 29,29",
    "square": "rim 0\nrect main 6,6 58,58",
    "triangle": "rim 0\npoly main 32,3 62,57 2,57",
    "star": "rim 0\npoly main 32,1 41,21 62,24 47,39 51,60 32,50 13,60 17,39 2,24 23,21",
    "cross": "rim 0\npoly main 22,3 42,3 42,22 61,22 61,42 42,42 42,61 22,61 22,42 3,42 3,22 22,22",
    "heart": "rim 0\nblob main 32,14 36,4 50,0 62,10 64,26 52,40 32,62 32,62 12,40 0,26 2,10 14,0 28,4",
}
"""Drawings of the shapes, in a single colour ``main`` that the scene sets."""

STRIPE = 88
"""Period of the stripes along a row in samples: 11 units of the full colour, then 11 units of a paler tint."""
BORDER = 12
"""Width in samples (3 units) of the edge that keeps the full colour, so that the outline stays visible."""


def striped(samples: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Adds diagonal stripes to the samples of a shape: value 1 is the full colour, and 2 the paler tint."""
    y, x = np.indices(samples.shape)

    # Find the samples that are further from the edge than the border's width.
    inner = samples == 1
    for axis in (0, 1):
        shifted = [np.roll(inner, step, axis) for step in range(-BORDER, BORDER + 1)]
        inner = np.logical_and.reduce(shifted)

    return np.where(inner & ((x + y) % STRIPE >= STRIPE // 2), 2, samples).astype(np.uint8)


PICTOGRAMS = {
    "dog": """
        oval tan 32,34 20,22
        both blob bark 14,8 4,12 2,40 12,44 20,30 22,12
        oval cream 32,44 13,12
        both bare oval ink 23,28 3,4
        bare oval ink 32,38 6,4
        bare blob rose 28,50 36,50 37,62 27,62
        bare line ink 2 32,40 32,48
    """,
    "cat": """
        both poly orange 8,4 28,18 8,34
        oval orange 32,36 26,22
        both bare poly pink 12,11 21,18 12,24
        both bare oval lime 21,32 6,6
        both bare oval ink 21,32 2,5
        oval cream 32,47 11,8
        bare poly rose 28,42 36,42 32,47
        both bare line ink 1 40,46 60,42
        both bare line ink 1 40,49 60,52
        bare line bark 3 32,15 32,24
        both bare line bark 3 25,16 25,22
    """,
    "horse": """
        blob brown 22,10 34,4 44,14 60,38 60,52 48,54 38,40 36,62 6,62 8,34
        poly brown 26,2 34,10 24,14
        bare bend bark 9 27,8 12,16 7,40 7,61
        bare oval ink 37,22 3,3
        bare oval ink 55,44 2,2
        bare oval tan 54,49 5,3 20
        bare oval ink 54,45 2,2
    """,
    "cow": """
        both bend cream 6 18,18 5,18 7,6
        both oval pink 8,28 7,5 20
        blob white 12,14 52,14 54,40 46,54 18,54 10,40
        bare blob ink 38,14 53,13 54,32 44,38 36,28
        oval pink 32,50 18,11
        both bare oval white 22,30 5,5
        both bare oval ink 22,30 3,3
        both bare oval wine 25,49 3,4
    """,
    "pig": """
        both poly rose 6,6 26,12 12,28
        oval pink 32,34 27,25
        both bare oval ink 20,28 3,4
        oval rose 32,42 12,9
        both bare oval wine 27,42 2,4
    """,
    "rabbit": """
        both oval pale 22,18 7,17 -8
        both bare oval rose 22,18 3,12 -8
        oval pale 32,44 20,17
        both bare oval ink 24,40 3,4
        bare poly rose 28,46 36,46 32,50
        bare rect white 29,52 35,58
        bare line ink 1 32,50 32,58
    """,
    "fish": """
        poly blue 40,32 60,14 56,32 60,50
        poly blue 22,18 36,8 38,20
        oval teal 26,34 24,16
        bare arc blue 3 10,34 12,14 -60,60
        bare oval white 13,30 4,4
        bare oval ink 12,30 2,2
        bare line blue 2 30,28 34,34 30,40
        bare line blue 2 38,28 41,34 38,40
    """,
    "frog": """
        both oval green 16,18 12,12
        oval green 32,38 28,20
        both bare oval white 16,17 8,8
        both bare oval ink 17,18 4,5
        bare blob lime 8,44 56,44 44,60 20,60
        bare arc ink 3 32,36 20,12 10,170
    """,
    "apple": """
        blob red 32,18 42,10 58,16 60,36 48,60 36,58 32,57 28,58 16,60 4,36 6,16 22,10
        bend bark 4 32,20 31,12 36,4
        blob green 36,12 44,0 58,4 48,14
        bare oval pink 18,28 4,7 20
    """,
    "banana": """
        blob yellow 8,6 16,4 20,26 34,42 60,40 62,50 40,62 16,52 6,30
        poly bark 8,3 16,3 16,12 9,12
        bare poly bark 56,40 62,42 61,50 56,50
        bare bend amber 3 12,14 16,44 54,49
    """,
    "strawberry": """
        blob red 10,20 32,14 54,20 58,34 40,56 32,64 24,56 6,34
        poly green 32,22 22,30 20,21 6,20 18,12 28,10 28,2 36,2 36,10 46,12 58,20 44,21 42,30
        bare oval yellow 18,34 2,3
        bare oval yellow 32,34 2,3
        bare oval yellow 46,34 2,3
        bare oval yellow 25,44 2,3
        bare oval yellow 39,44 2,3
        bare oval yellow 32,53 2,3
    """,
    "carrot": """
        bend green 6 40,22 38,8 30,4
        bend green 6 42,22 46,8 44,3
        bend green 6 42,22 54,16 60,10
        bend green 6 44,24 54,26 61,22
        blob orange 32,14 50,20 50,34 30,50 2,64 14,34
        bare line brown 2 28,28 36,33
        bare line brown 2 34,44 26,38
        bare line brown 2 18,42 23,46
    """,
    "pizza": """
        poly yellow 6,16 58,16 32,62
        bend tan 9 5,17 32,4 59,17
        bare oval red 22,25 6,6
        bare oval red 41,27 6,6
        bare oval red 31,43 6,6
        bare line green 3 30,18 33,22
        bare line green 3 26,35 29,32
    """,
    "cake": """
        rect rose 8,34 56,60
        blob white 6,28 58,28 58,44 50,46 44,38 36,48 28,38 20,46 14,44 6,44
        rect sky 17,16 21,30
        rect sky 30,16 34,30
        rect sky 43,16 47,30
        bare oval orange 19,11 3,5
        bare oval orange 32,11 3,5
        bare oval orange 45,11 3,5
        bare rect wine 8,52 56,56
    """,
    "car": """
        poly red 14,30 22,14 44,14 52,30
        blob red 2,30 62,28 63,50 1,50
        bare poly sky 20,28 25,18 31,18 31,28
        bare poly sky 35,18 42,18 47,28 35,28
        both oval ink 17,48 9,9
        both bare oval pale 17,48 4,4
        bare rect yellow 58,36 62,40
    """,
    "bus": """
        rect amber 2,10 62,50
        bare rect yellow 2,10 62,16
        bare rect sky 6,18 17,32
        bare rect sky 20,18 31,32
        bare rect sky 34,18 45,32
        bare rect navy 49,18 59,46
        bare rect ink 2,38 46,41
        both oval ink 16,51 8,8
        both bare oval pale 16,51 3,3
    """,
    "bicycle": """
        rim 0
        both arc ink 4 15,44 13,13 0,360
        line blue 4 15,44 25,22 44,22 32,44 15,44
        line blue 4 25,22 32,44
        line blue 4 49,44 42,14
        line ink 4 36,13 42,14 48,10
        line ink 5 19,18 30,18
        line blue 3 25,22 24,18
    """,
    "boat": """
        line bark 4 32,4 32,46
        poly white 36,6 58,38 36,38
        poly red 28,10 28,38 8,38
        poly blue 3,44 61,44 50,60 14,60
    """,
    "house": """
        rect red 44,8 52,24
        rect cream 10,30 54,60
        poly wine 32,4 62,34 2,34
        bare rect brown 35,42 47,60
        bare rect sky 16,40 29,51
    """,
    "tree": """
        rect brown 26,40 38,62
        blob green 32,0 54,4 64,24 58,44 32,50 6,44 0,24 10,4
        bare oval lime 22,18 7,6
        bare oval pine 42,34 8,5
    """,
    "flower": """
        line green 5 32,34 32,62
        blob green 32,60 36,44 54,42 50,56
        oval rose 32,8 9,8
        oval rose 47,18 9,8 60
        oval rose 42,35 9,8 -60
        oval rose 22,35 9,8 60
        oval rose 17,18 9,8 -60
        oval yellow 32,23 9,9
    """,
    "book": """
        poly blue 2,14 32,18 62,14 62,56 32,60 2,56
        blob white 6,8 28,8 32,18 32,56 24,50 6,50
        blob white 58,8 36,8 32,18 32,56 40,50 58,50
        bare line ink 2 32,14 32,56
        both bare line grey 2 12,20 25,22
        both bare line grey 2 12,29 25,31
        both bare line grey 2 12,38 25,40
    """,
    "key": """
        arc amber 8 17,20 11,11 0,360
        line amber 7 25,28 56,58
        line amber 6 44,46 52,38
        line amber 6 52,54 60,46
    """,
    "clock": """
        oval blue 32,32 29,29
        bare oval white 32,32 22,22
        bare line ink 4 32,32 32,17
        bare line ink 4 32,32 43,38
        bare line grey 3 32,11 32,13
        bare line grey 3 32,51 32,53
        bare line grey 3 11,32 13,32
        bare line grey 3 51,32 53,32
    """,
    "guitar": """
        line bark 6 30,34 56,8
        line bark 9 54,10 58,6
        oval orange 18,46 16,14 -45
        oval orange 32,34 11,10 -45
        bare oval brown 20,45 14,12 -45
        bare oval orange 18,46 14,12 -45
        bare oval ink 27,39 5,5
        bare line ink 4 12,46 18,52
        bare line white 1 15,49 54,10
    """,
    "umbrella": """
        line bark 4 32,6 32,52
        arc bark 4 38,52 6,7 0,180
        poly violet 3,34 6,22 14,12 24,7 32,6 40,7 50,12 58,22 61,34 52,30 42,34 32,30 22,34 12,30
        bare blob rose 32,6 42,18 42,34 32,30 22,34 22,18
    """,
    "moon": """
        oval navy 32,32 29,29
        bare oval cream 30,32 21,21
        bare oval navy 40,26 18,18
        bare oval white 46,22 2,2
        bare oval white 40,34 2,2
        bare oval white 52,36 2,2
    """,
    "sun": """
        rim 0
        poly orange 32,0 39,14 53,8 50,24 64,32 50,40 53,56 39,50 32,64 25,50 11,56 14,40 0,32 14,24 11,8 25,14
        oval orange 32,32 21,21
        oval yellow 32,32 17,17
    """,
    "bat_animal": """
        both poly violet 30,26 20,18 12,6 2,24 2,46 10,38 15,48 22,40 30,46
        both poly slate 23,12 31,18 24,26
        oval slate 32,34 9,16
        both bare oval yellow 28,28 2,3
        both bare poly white 27,36 31,36 29,42
    """,
    "bat_club": """
        poly tan 44,4 58,10 60,18 24,50 16,44
        line bark 7 10,54 20,46
        oval bark 9,56 5,5
        oval white 48,48 12,12
        bare arc red 2 38,48 8,10 -50,50
        bare arc red 2 58,48 8,10 130,230
    """,
    "mouse_animal": """
        bend rose 4 52,50 64,50 60,30 54,28
        oval grey 36,46 22,15
        oval grey 30,24 10,10
        bare oval pink 30,24 6,6
        blob grey 4,50 14,30 34,28 40,50 20,60
        bare oval ink 17,42 3,3
        oval rose 6,50 3,3
    """,
    "mouse_computer": """
        bend ink 3 32,18 32,6 44,2 50,8
        oval white 32,40 18,22
        bare line slate 2 15,34 49,34
        bare line slate 2 32,18 32,34
        oval teal 32,27 3,6
    """,
    "bow_ribbon": """
        poly wine 28,32 36,32 50,60 38,54 34,60
        poly wine 28,32 36,32 26,60 22,54 12,58
        both blob rose 32,28 6,2 0,28 6,52
        both bare line wine 2 24,28 12,22
        both bare line wine 2 24,32 12,36
        oval red 32,29 7,8
    """,
    "bow_weapon": """
        rim 1
        bend brown 7 14,4 60,2 62,52
        line slate 2 14,4 62,52
        line bark 4 8,58 50,14
        poly grey 58,6 56,20 44,8
        line red 5 6,50 14,58
        line red 5 12,46 18,52
    """,
    "nut_food": """
        blob brown 32,2 40,8 60,24 58,50 40,62 24,62 6,50 4,24 24,8
        bare blob cream 8,46 32,40 56,46 50,62 14,62
        bare bend tan 3 26,14 18,24 18,36
        bare bend bark 3 40,14 46,24 46,36
    """,
    "nut_metal": """
        poly grey 17,6 47,6 62,32 47,58 17,58 2,32
        bare poly pale 20,10 44,10 50,19 14,19
        bare poly slate 20,54 44,54 50,45 14,45
        oval white 32,32 14,14
    """,
    "plant_green": """
        bend green 4 32,46 32,30 30,20
        blob green 32,44 28,26 6,20 4,30 14,42
        blob lime 32,44 36,26 58,18 60,28 50,42
        blob green 32,40 20,22 32,0 42,20
        poly orange 14,42 50,42 44,62 20,62
        bare rect red 12,42 52,47
    """,
    "plant_factory": """
        oval pale 22,8 8,5
        oval pale 12,6 6,4
        poly slate 8,16 18,16 20,60 6,60
        poly red 18,60 18,38 32,26 32,38 46,26 46,38 60,26 60,60
        bare rect yellow 24,46 31,53
        bare rect yellow 36,46 43,53
        bare rect yellow 48,46 55,53
        bare rect white 8,20 17,24
    """,
    "ear_head": """
        blob skin 14,14 24,0 50,2 54,24 46,36 40,46 36,62 22,62 18,48 14,34
        bare bend brown 4 20,22 24,8 44,8 44,22 40,32
        bare bend brown 4 26,26 34,18 36,28 26,36 32,44 28,50
    """,
    "ear_corn": """
        oval yellow 32,26 14,24
        bare line amber 2 25,6 25,46
        bare line amber 2 32,3 32,46
        bare line amber 2 39,6 39,46
        bare line amber 2 19,16 45,16
        bare line amber 2 18,24 46,24
        bare line amber 2 18,32 46,32
        both blob green 32,62 36,44 54,14 60,24 54,52
    """,
    "diamond_gem": """
        poly sky 14,8 50,8 62,24 32,60 2,24
        bare poly teal 2,24 22,24 32,60
        bare poly blue 42,24 62,24 32,60
        bare poly white 22,24 32,9 42,24
        bare line navy 2 3,24 61,24
        bare line navy 2 22,24 32,60 42,24
    """,
    "diamond_card": """
        rect white 11,3 53,61
        bare poly red 32,14 46,32 32,50 18,32
        bare poly red 17,6 20,10 17,14 14,10
        bare poly red 47,50 50,54 47,58 44,54
    """,
    "chicken_bird": """
        line orange 3 28,52 28,62
        line orange 3 38,52 38,62
        both oval red 32,4 4,4
        oval red 16,8 4,5
        oval red 23,7 4,5
        blob white 12,10 26,6 30,24 44,26 60,12 62,34 52,54 26,58 12,44 10,22
        poly orange 11,18 2,23 11,26
        oval red 13,31 4,5
        bare oval ink 18,18 3,3
        bare bend grey 3 30,36 40,48 52,34
    """,
    "chicken_food": """
        line white 8 40,40 56,54
        oval white 58,50 5,5
        oval white 53,58 5,5
        blob brown 6,18 16,2 40,6 50,28 46,46 30,50 8,38
        bare bend orange 5 14,22 18,12 30,12
    """,
    "football_round": """
        oval white 32,32 28,28
        bare poly ink 32,21 43,29 39,42 25,42 21,29
        bare poly ink 24,5 40,5 32,12
        both bare poly ink 4,26 12,22 11,34 6,40
        both bare poly ink 15,54 18,46 26,52 24,59
        bare line ink 2 32,21 32,10
        both bare line ink 2 21,29 12,26
        both bare line ink 2 25,42 20,49
    """,
    "football_american": """
        poly brown 3,32 10,22 20,15 32,12 44,15 54,22 61,32 54,42 44,49 32,52 20,49 10,42
        both bare line white 4 15,20 15,44
        bare line white 3 22,32 42,32
        bare line white 3 26,27 26,37
        bare line white 3 32,27 32,37
        bare line white 3 38,27 38,37
    """,
    "cell_phone": """
        rect ink 17,3 47,61
        bare rect sky 20,9 44,51
        bare rect red 22,12 28,18
        bare rect green 30,12 36,18
        bare rect yellow 38,12 43,18
        bare rect white 22,22 28,28
        bare rect violet 30,22 36,28
        bare rect orange 38,22 43,28
        bare oval pale 32,56 3,3
    """,
    "cell_biology": """
        rim 0
        blob pine 20,2 48,4 64,22 60,48 40,62 14,60 0,40 4,14
        blob lime 22,7 46,9 59,24 55,46 38,57 17,55 5,39 9,17
        oval violet 35,30 12,11
        oval navy 37,29 5,5
        oval rose 16,26 5,3 40
        oval rose 22,46 6,3 -20
        oval rose 46,48 5,3 -40
    """,
    "organ_keyboard": """
        poly amber 7,14 10,10 13,14 13,40 7,40
        poly amber 17,9 20,5 23,9 23,40 17,40
        poly amber 29,5 32,1 35,5 35,40 29,40
        poly amber 41,9 44,5 47,9 47,40 41,40
        poly amber 51,14 54,10 57,14 57,40 51,40
        rect brown 3,38 61,61
        bare rect white 7,44 57,56
        both bare rect ink 11,44 15,51
        both bare rect ink 19,44 23,51
        both bare rect ink 27,44 31,51
    """,
    "organ_heart": """
        line blue 8 20,24 18,12
        bend red 8 32,26 30,6 44,8 46,22
        line blue 6 46,24 57,17
        blob wine 14,20 34,16 54,24 56,42 38,64 28,60 10,44
        bare blob red 26,26 50,26 52,42 38,58 28,46
        bare bend pink 2 34,26 32,40 40,54
        bare bend blue 3 18,30 20,42 30,54
    """,
    "bolt_lightning": """
        poly yellow 36,2 12,36 28,36 22,62 52,24 36,24 46,2
    """,
    "bolt_screw": """
        poly grey 14,6 50,6 54,13 50,20 14,20 10,13
        rect pale 23,20 41,60
        bare line slate 3 23,29 41,25
        bare line slate 3 23,37 41,33
        bare line slate 3 23,45 41,41
        bare line slate 3 23,53 41,49
        bare line slate 2 26,8 26,18
        bare line slate 2 38,8 38,18
    """,
    "glasses_eyewear": """
        rim 0
        both arc ink 5 16,36 12,12 0,360
        both oval sky 16,36 9,9
        bend ink 5 28,34 32,28 36,34
        both bend ink 5 4,34 4,20 12,16
    """,
    "glasses_drinking": """
        both rect pale 14,38 18,58
        both line pale 5 8,59 24,59
        both blob sky 4,6 28,6 30,30 16,44 2,30
        both bare blob red 5,20 27,20 27,30 16,40 5,30
    """,
    "letter_mail": """
        rect white 2,12 62,54
        bare poly pale 2,12 62,12 32,38
        bare line slate 3 2,12 32,38 62,12
        bare line slate 2 2,54 24,32
        bare line slate 2 62,54 40,32
        bare oval red 32,37 6,6
    """,
    "letter_a": """
        poly blue 25,4 39,4 61,60 47,60 42,47 22,47 17,60 3,60
        bare poly white 32,19 38,37 26,37
    """,
    "ring_finger": """
        arc amber 7 32,42 17,17 0,360
        poly sky 20,4 44,4 50,11 32,28 14,11
        bare poly white 25,11 32,5 39,11 32,26
    """,
    "ring_boxing": """
        rect slate 3,50 61,61
        poly sky 8,41 56,41 61,50 3,50
        bare line red 4 12,14 52,14
        bare line blue 4 12,24 52,24
        bare line red 4 12,34 52,34
        rect ink 5,6 12,52
        rect ink 52,6 59,52
        bare rect red 5,6 12,14
        bare rect blue 52,6 59,14
    """,
    "crane_bird": """
        line ink 2 30,44 28,62
        line ink 2 36,44 38,62
        bend white 6 24,36 10,28 16,10
        oval white 18,9 7,5
        bare oval red 18,5 5,3
        poly amber 12,8 2,12 12,12
        blob white 16,30 40,22 62,44 40,50 24,46
        bare blob ink 44,32 62,44 62,54 48,46
        bare oval ink 16,9 2,2
    """,
    "crane_machine": """
        rect yellow 14,8 22,60
        poly yellow 2,12 62,12 62,18 2,18
        line amber 2 18,3 4,12
        line amber 2 18,3 58,12
        line ink 2 50,18 50,40
        rect red 42,40 58,52
        rect slate 2,16 10,26
        rect slate 6,56 30,62
        bare line bark 2 14,24 22,32 14,40 22,48 14,56
    """,
    "doctor_man": """
        blob white 4,64 8,44 32,38 56,44 60,64
        rect skin 27,34 37,44
        oval skin 32,22 14,17
        blob bark 16,20 16,2 48,2 48,20 42,12 22,12
        both bare oval ink 26,23 2,3
        bare arc wine 2 32,28 6,4 20,160
        bare bend teal 4 20,42 20,56 30,58
        bare bend teal 4 44,42 44,50 44,52
        bare oval teal 44,54 4,4
    """,
    "doctor_woman": """
        blob orange 10,50 10,4 32,0 54,4 54,50 44,52 20,52
        blob white 4,64 8,46 32,40 56,46 60,64
        rect skin 27,36 37,46
        oval skin 32,24 13,16
        bare blob orange 18,24 20,4 44,4 46,24 36,12 28,14
        both bare oval ink 26,25 2,3
        bare oval red 32,34 4,2
        bare bend teal 4 20,46 20,58 30,60
        bare bend teal 4 44,46 44,52 44,54
        bare oval teal 44,56 4,4
    """,
    "cook_man": """
        blob pale 8,64 10,48 32,42 54,48 56,64
        oval skin 32,34 14,15
        blob white 18,24 4,14 14,0 32,4 50,0 60,14 46,24
        rect white 18,18 46,27
        both bare oval ink 26,33 2,3
        bare blob bark 18,42 30,36 34,36 46,42 40,45 32,42 24,45
        bare poly red 22,50 42,50 32,60
    """,
    "cook_woman": """
        both blob bark 14,26 4,34 6,54 20,54 20,30
        blob pale 8,64 10,50 32,44 54,50 56,64
        oval skin 32,36 14,15
        blob white 18,24 4,14 14,0 32,4 50,0 60,14 46,24
        rect white 18,18 46,27
        both bare oval ink 26,36 2,3
        bare oval red 32,44 4,2
        both bare oval rose 22,42 3,2
        bare poly green 22,54 42,54 32,62
    """,
}
"""Drawings of the pictograms by name; the names of a homonym's two senses differ in their ending."""
