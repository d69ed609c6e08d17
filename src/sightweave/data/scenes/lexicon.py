# ruff: noqa: E501  # one row of the table is one line
"""The names of all things and attributes in English, German, French and Chinese.

For German nouns, the tables give gender, plural and, if it differs, the accusative; for French nouns, gender and plural; for
Chinese nouns, the measure word. The tables are written by hand, and all sentences are made from them.
"""

from __future__ import annotations

from dataclasses import dataclass

LANGUAGES = ("en", "de", "fr", "zh")
COLORS = ("red", "green", "blue", "yellow", "purple", "black")
SIZES = ("small", "big")
NUMBER_WORDS = {"en": "two", "de": "zwei", "fr": "deux", "zh": "两"}

# name | English, plural | German gender, noun, plural, accusative | French gender, noun, plural | measure word, Chinese
_SHAPES = """
circle | circle, circles | m, Kreis, Kreise | m, cercle, cercles | 个, 圆形
square | square, squares | n, Quadrat, Quadrate | m, carré, carrés | 个, 正方形
triangle | triangle, triangles | n, Dreieck, Dreiecke | m, triangle, triangles | 个, 三角形
star | star, stars | m, Stern, Sterne | f, étoile, étoiles | 颗, 星星
cross | cross, crosses | n, Kreuz, Kreuze | f, croix, croix | 个, 十字
heart | heart, hearts | n, Herz, Herzen | m, cœur, cœurs | 颗, 爱心
"""
# The same columns, followed by the category, if any.
_PLAIN = """
dog | dog, dogs | m, Hund, Hunde | m, chien, chiens | 只, 狗 | animal
cat | cat, cats | f, Katze, Katzen | m, chat, chats | 只, 猫 | animal
horse | horse, horses | n, Pferd, Pferde | m, cheval, chevaux | 匹, 马 | animal
cow | cow, cows | f, Kuh, Kühe | f, vache, vaches | 头, 牛 | animal
pig | pig, pigs | n, Schwein, Schweine | m, cochon, cochons | 头, 猪 | animal
rabbit | rabbit, rabbits | n, Kaninchen, Kaninchen | m, lapin, lapins | 只, 兔子 | animal
fish | fish, fish | m, Fisch, Fische | m, poisson, poissons | 条, 鱼 | animal
frog | frog, frogs | m, Frosch, Frösche | f, grenouille, grenouilles | 只, 青蛙 | animal
apple | apple, apples | m, Apfel, Äpfel | f, pomme, pommes | 个, 苹果 | food
banana | banana, bananas | f, Banane, Bananen | f, banane, bananes | 根, 香蕉 | food
strawberry | strawberry, strawberries | f, Erdbeere, Erdbeeren | f, fraise, fraises | 颗, 草莓 | food
carrot | carrot, carrots | f, Karotte, Karotten | f, carotte, carottes | 根, 胡萝卜 | food
pizza | pizza, pizzas | f, Pizza, Pizzas | f, pizza, pizzas | 个, 披萨 | food
cake | cake, cakes | m, Kuchen, Kuchen | m, gâteau, gâteaux | 个, 蛋糕 | food
car | car, cars | n, Auto, Autos | f, voiture, voitures | 辆, 汽车 | vehicle
bus | bus, buses | m, Bus, Busse | m, bus, bus | 辆, 公交车 | vehicle
bicycle | bicycle, bicycles | n, Fahrrad, Fahrräder | m, vélo, vélos | 辆, 自行车 | vehicle
boat | boat, boats | n, Boot, Boote | m, bateau, bateaux | 艘, 船 | vehicle
house | house, houses | n, Haus, Häuser | f, maison, maisons | 栋, 房子
tree | tree, trees | m, Baum, Bäume | m, arbre, arbres | 棵, 树
flower | flower, flowers | f, Blume, Blumen | f, fleur, fleurs | 朵, 花
book | book, books | n, Buch, Bücher | m, livre, livres | 本, 书
key | key, keys | m, Schlüssel, Schlüssel | f, clé, clés | 把, 钥匙
clock | clock, clocks | f, Uhr, Uhren | f, horloge, horloges | 个, 时钟
guitar | guitar, guitars | f, Gitarre, Gitarren | f, guitare, guitares | 把, 吉他
umbrella | umbrella, umbrellas | m, Regenschirm, Regenschirme | m, parapluie, parapluies | 把, 雨伞
moon | moon, moons | m, Mond, Monde | f, lune, lunes | 个, 月亮
sun | sun, suns | f, Sonne, Sonnen | m, soleil, soleils | 个, 太阳
"""
# The two senses of each English word, in consecutive rows. Glasses come in pairs, so that both senses are singular.
_HOMONYMS = """
bat_animal | bat, bats | f, Fledermaus, Fledermäuse | f, chauve-souris, chauves-souris | 只, 蝙蝠 | animal
bat_club | bat, bats | m, Schläger, Schläger | f, batte, battes | 根, 球棒
mouse_animal | mouse, mice | f, Maus, Mäuse | f, souris, souris | 只, 老鼠 | animal
mouse_computer | mouse, mice | f, Maus, Mäuse | f, souris, souris | 个, 鼠标
bow_ribbon | bow, bows | f, Schleife, Schleifen | m, nœud, nœuds | 个, 蝴蝶结
bow_weapon | bow, bows | m, Bogen, Bögen | m, arc, arcs | 把, 弓
nut_food | nut, nuts | f, Nuss, Nüsse | f, noix, noix | 颗, 坚果 | food
nut_metal | nut, nuts | f, Mutter, Muttern | m, écrou, écrous | 个, 螺母
plant_green | plant, plants | f, Pflanze, Pflanzen | f, plante, plantes | 株, 植物
plant_factory | plant, plants | f, Fabrik, Fabriken | f, usine, usines | 座, 工厂
ear_head | ear, ears | n, Ohr, Ohren | f, oreille, oreilles | 只, 耳朵
ear_corn | ear, ears | m, Maiskolben, Maiskolben | m, épi, épis | 根, 玉米 | food
diamond_gem | diamond, diamonds | m, Diamant, Diamanten, Diamanten | m, diamant, diamants | 颗, 钻石
diamond_card | diamond, diamonds | n, Karo, Karos | m, carreau, carreaux | 个, 方块
chicken_bird | chicken, chickens | n, Huhn, Hühner | f, poule, poules | 只, 鸡 | animal
chicken_food | chicken, chickens | n, Hähnchen, Hähnchen | m, poulet, poulets | 块, 鸡肉 | food
football_round | football, footballs | m, Fußball, Fußbälle | m, ballon de foot, ballons de foot | 个, 足球
football_american | football, footballs | m, Football, Footballs | m, ballon ovale, ballons ovales | 个, 橄榄球
cell_phone | cell, cells | n, Handy, Handys | m, portable, portables | 部, 手机
cell_biology | cell, cells | f, Zelle, Zellen | f, cellule, cellules | 个, 细胞
organ_keyboard | organ, organs | f, Orgel, Orgeln | m, orgue, orgues | 架, 风琴
organ_heart | organ, organs | n, Organ, Organe | m, organe, organes | 个, 器官
bolt_lightning | bolt, bolts | m, Blitz, Blitze | m, éclair, éclairs | 道, 闪电
bolt_screw | bolt, bolts | m, Bolzen, Bolzen | m, boulon, boulons | 个, 螺栓
glasses_eyewear | pair of glasses, pairs of glasses | f, Brille, Brillen | f, paire de lunettes, paires de lunettes | 副, 眼镜
glasses_drinking | pair of glasses, pairs of glasses | n, Paar Gläser, Paar Gläser | f, paire de verres, paires de verres | 对, 玻璃杯
letter_mail | letter, letters | m, Brief, Briefe | f, lettre, lettres | 封, 信
letter_a | letter, letters | m, Buchstabe, Buchstaben, Buchstaben | f, lettre, lettres | 个, 字母
ring_finger | ring, rings | m, Ring, Ringe | f, bague, bagues | 枚, 戒指
ring_boxing | ring, rings | m, Boxring, Boxringe | m, ring, rings | 个, 拳击台
crane_bird | crane, cranes | m, Kranich, Kraniche | f, grue, grues | 只, 鹤 | animal
crane_machine | crane, cranes | m, Kran, Kräne | f, grue, grues | 台, 起重机
doctor_man | doctor, doctors | m, Arzt, Ärzte | m, docteur, docteurs | 位, 医生
doctor_woman | doctor, doctors | f, Ärztin, Ärztinnen | f, docteure, docteures | 位, 医生
cook_man | cook, cooks | m, Koch, Köche | m, cuisinier, cuisiniers | 位, 厨师
cook_woman | cook, cooks | f, Köchin, Köchinnen | f, cuisinière, cuisinières | 位, 厨师
"""

# Stems of German adjectives, to which endings are added. English and Chinese adjectives are not inflected.
GERMAN_ADJECTIVES = {
    "red": "rot",
    "green": "grün",
    "blue": "blau",
    "yellow": "gelb",
    "purple": "violett",
    "black": "schwarz",
    "small": "klein",
    "big": "groß",
    "striped": "gestreift",
}
# Forms of French adjectives: masculine, feminine, masculine plural and feminine plural.
FRENCH_ADJECTIVES = {
    "red": ("rouge", "rouge", "rouges", "rouges"),
    "green": ("vert", "verte", "verts", "vertes"),
    "blue": ("bleu", "bleue", "bleus", "bleues"),
    "yellow": ("jaune", "jaune", "jaunes", "jaunes"),
    "purple": ("violet", "violette", "violets", "violettes"),
    "black": ("noir", "noire", "noirs", "noires"),
    "small": ("petit", "petite", "petits", "petites"),
    "big": ("grand", "grande", "grands", "grandes"),
    "striped": ("rayé", "rayée", "rayés", "rayées"),
}
CHINESE_ADJECTIVES = {
    "red": "红色",
    "green": "绿色",
    "blue": "蓝色",
    "yellow": "黄色",
    "purple": "紫色",
    "black": "黑色",
    "small": "小",
    "big": "大",
    "striped": "条纹",
}


@dataclass(frozen=True, slots=True, eq=False)
class Noun:
    """The name of a thing in all languages: a row of the tables."""

    name: str
    """Name of the shape or pictogram."""
    word: str
    """The name without the sense, such as ``bat`` for both ``bat_animal`` and ``bat_club``."""
    is_shape: bool
    category: str
    """Category: ``shape``, ``animal``, ``food``, ``vehicle``, or empty."""
    english: tuple[str, str]
    """English singular and plural."""
    german: tuple[str, str, str]
    """German nominative singular, accusative singular, and plural."""
    german_gender: str
    """German gender: ``m``, ``f`` or ``n``."""
    french: tuple[str, str]
    """French singular and plural."""
    french_gender: str
    """French gender: ``m`` or ``f``."""
    chinese: str
    measure: str
    """Chinese measure word."""

    def singular(self, language: str) -> str:
        """The noun's nominative singular in one language (``en``, ``de``, ``fr`` or ``zh``)."""
        forms = {"en": self.english[0], "de": self.german[0], "fr": self.french[0], "zh": self.chinese}
        return forms[language]


def _read(table: str, *, is_shape: bool) -> dict[str, Noun]:
    nouns = {}
    for row in table.strip().splitlines():
        cells = _split(row, "|")
        name = cells[0]
        en, de, fr, zh = (_split(cell, ",") for cell in cells[1:5])
        category = cells[5] if len(cells) > 5 else ""
        nouns[name] = Noun(
            name=name,
            word=name.partition("_")[0],
            is_shape=is_shape,
            category="shape" if is_shape else category,
            english=(en[0], en[1]),
            german=(de[1], de[3] if len(de) > 3 else de[1], de[2]),
            german_gender=de[0],
            french=(fr[1], fr[2]),
            french_gender=fr[0],
            chinese=zh[1],
            measure=zh[0],
        )
    return nouns


def _split(text: str, separator: str) -> list[str]:
    return [part.strip() for part in text.split(separator)]


_shapes = _read(_SHAPES, is_shape=True)
_plain = _read(_PLAIN, is_shape=False)
_homonyms = _read(_HOMONYMS, is_shape=False)
NOUNS: dict[str, Noun] = {**_shapes, **_plain, **_homonyms}
"""Nouns of all shapes and pictograms, by name."""
SHAPES = tuple(_shapes)
PLAIN = tuple(_plain)
SENSES: dict[str, tuple[str, str]] = {}
"""Names of the two pictograms of each homonym, by English word."""
for _name in _homonyms:
    _word = NOUNS[_name].word
    SENSES[_word] = (SENSES[_word][0], _name) if _word in SENSES else (_name, "")
HOMONYMS = tuple(SENSES)


def other_sense(name: str) -> Noun:
    """The noun for the other sense of a homonym, given the pictogram of one sense."""
    first, second = SENSES[NOUNS[name].word]
    return NOUNS[second if name == first else first]


def differs(word: str, language: str) -> bool:
    """Whether a language has different words for the two senses of an English homonym."""
    first, second = (NOUNS[name] for name in SENSES[word])
    return first.singular(language) != second.singular(language)
