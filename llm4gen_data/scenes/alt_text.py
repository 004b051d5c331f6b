"""Alt texts as people leave them on the web: shop titles, file names, half of the truth, or none of it."""

import random

from llm4gen_data.scenes.sample import Scene, SceneObject

_SITES = ("ShapeMart", "clipart-box.com", "PixelBarn", "freevectors.example", "Craftopia", "ArtPrints24", "iconfolio")
_PRODUCTS = ("sticker", "wall decal", "clip art", "vector", "icon", "t-shirt print", "poster", "SVG cut file", "png")
_UNRELATED = (
    "Best hotels near the old harbour 2019",
    "Click to enlarge",
    "Homemade lasagna recipe - easy weeknight dinner",
    "image not available",
    "Pin on Ideas",
    "loading...",
    "Used cars for sale | low mileage",
    "Screenshot",
    "Photo 3 of 12",
    "Related posts:",
)


def alt_text(scene: Scene, rng: random.Random) -> str:
    """An alt text as noisy as LAION's: attributes missing, shop talk, odd case, sometimes empty or unrelated."""
    style = rng.choices(
        (_plain, _shop, _file_name, _tags, _site_title, _unrelated, _empty), (30, 22, 12, 14, 12, 7, 3)
    )
    text = style[0](scene, rng)
    if rng.random() < 0.08 and len(text) > 24:
        text = text[: rng.randint(14, len(text) - 4)] + "..."
    return rng.choices((text, text.lower(), text.upper(), text.title()), weights=(62, 20, 4, 14))[0]


def _plain(scene: Scene, rng: random.Random) -> str:
    names = [_name(o, rng) for o in rng.sample(scene.objects, rng.randint(1, len(scene.objects)))]
    return rng.choice(("{}", "{}", "picture of {}", "{} isolated on background", "simple {} illustration")).format(
        rng.choice((" and ", ", ", " & ")).join(names)
    )


def _shop(scene: Scene, rng: random.Random) -> str:
    name, product = _name(rng.choice(scene.objects), rng), rng.choice(_PRODUCTS)
    sku = f"{rng.choice('ABKXZ')}{rng.randint(100, 99999)}-{rng.randint(1, 99):02d}"
    return rng.choice(
        (
            f"{name} {product} | {rng.choice(_SITES)}",
            f"{name} {product} - SKU {sku}",
            f"Buy {name} {product} online, item no. {sku}",
            f"{name} {product} ({rng.randint(2, 50)} pcs) free shipping!",
            f"{sku} {name}",
        )
    )


def _file_name(scene: Scene, rng: random.Random) -> str:
    o = rng.choice(scene.objects)
    suffix = rng.choice(("jpg", "png", "jpeg", "webp"))
    return rng.choice(
        (
            f"IMG_{rng.randint(1000, 9999)}.{suffix}",
            f"{o.color}-{o.shape}-{rng.randint(1, 40)}.{suffix}",
            f"{o.shape}_{rng.choice((64, 128, 600))}x{rng.choice((64, 128, 600))}",
            f"untitled-{rng.randint(1, 9)}.{suffix}",
            f"{o.shape}{rng.randint(1, 99)}-copy.{suffix}",
        )
    )


def _tags(scene: Scene, rng: random.Random) -> str:
    words = [w for o in scene.objects for w in (o.shape, o.color) if rng.random() < 0.7]
    words += rng.sample(("geometric", "flat design", "shapes", "minimal", "kids", "free download"), 2)
    return rng.choice((", ", " ", " #")).join(rng.sample(words, len(words)))


def _site_title(scene: Scene, rng: random.Random) -> str:
    o = rng.choice(scene.objects)
    return rng.choice(
        (
            f"{o.shape.title()}s - {rng.choice(_SITES)}",
            f"{rng.randint(10, 99)} Cool {o.shape.title()} Designs You Will Love",
            f"{rng.choice(_SITES)}: {_name(o, rng)}",
            f"How to draw a {o.shape} step by step",
        )
    )


def _unrelated(scene: Scene, rng: random.Random) -> str:
    return rng.choice(_UNRELATED)


def _empty(scene: Scene, rng: random.Random) -> str:
    return ""


def _name(o: SceneObject, rng: random.Random) -> str:
    """Shape, mostly with the colour, rarely with more."""
    words = [o.shape]
    if rng.random() < 0.6:
        words.insert(0, o.color)
    if rng.random() < 0.15:
        words.insert(0, o.texture)
    if rng.random() < 0.1:
        words.insert(0, o.size)
    return " ".join(words)
