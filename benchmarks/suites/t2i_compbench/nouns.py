"""The 88 nouns that the numeracy prompts count: T2I-CompBench's `new_objects.txt` without its repetitions.

T2I-CompBench is under the MIT licence, copyright (c) 2023 Kaiyue.
"""

PLURAL_IN_S = """
bottle cup cake bird microwave desk book helmet pillow bowl flag stool toy pen microphone bread camera candle
paddle drum guitar tent kite lemon suitcase pear printer duck hamburger egg ship chicken helicopter swan camel
banana balloon giraffe frog horse rabbit bicycle bee girl painting lamp cow train vase pig airplane phone boy
plate computer turtle bag car backpack dog television cat table sofa key refrigerator clock chair truck boat
bear sink apple
"""

PLURAL_OF = {
    **{noun: f"{noun}s" for noun in PLURAL_IN_S.split()},
    "knife": "knives",
    "fish": "fish",
    "tomato": "tomatoes",
    "strawberry": "strawberries",
    "deer": "deer",
    "peach": "peaches",
    "goldfish": "goldfish",
    "shrimp": "shrimp",
    "man": "men",
    "mouse": "mice",
    "sheep": "sheep",
    "woman": "women",
    "couch": "couches",
    "butterfly": "butterflies",
    "person": "people",
}
SINGULAR_OF = {plural: noun for noun, plural in PLURAL_OF.items()}
# How the protocol counted these before 2025-01 is not known.
EQUAL_PLURALS = frozenset(noun for noun, plural in PLURAL_OF.items() if noun == plural)
