"""Sentence patterns of the dense captions; `dense.py` says when each of them is true.

Keys: {np} a noun phrase that brings a unit in, {ref} a reference to a known one, {it}/{its}/{them} its pronouns
(or a reference where a pronoun would be unclear), {is}/{has}/{verb} its verb forms, {place} where in the frame.
"""

PLACE_VERBS = (
    ("sits", "sit"),
    ("lies", "lie"),
    ("rests", "rest"),
    ("stands", "stand"),
    ("appears", "appear"),
    ("is placed", "are placed"),
    ("can be seen", "can be seen"),
    ("floats", "float"),
)

RELATION_PHRASES = {
    "left of": ("to the left of", "left of", "to the left of"),
    "right of": ("to the right of", "right of", "to the right of"),
    "above": ("above", "higher up than", "above"),
    "below": ("below", "beneath", "lower down than", "under"),
}
# For places in a sentence where "lower down than" would not be English.
FRONTED_RELATIONS = {
    "left of": ("to the left of",),
    "right of": ("to the right of",),
    "above": ("above",),
    "below": ("below", "beneath", "underneath"),
}
# Relation to a pronoun: {them} and {their} are filled in.
PRONOUN_RELATIONS = {
    "left of": ("to {their} left", "on {their} left"),
    "right of": ("to {their} right", "on {their} right"),
    "above": ("above {them}",),
    "below": ("below {them}", "beneath {them}", "under {them}"),
}
NEIGHBOR_RELATIONS = {
    "left of": ("to the left", "on the left"),
    "right of": ("to the right", "on the right"),
    "above": ("above",),
    "below": ("below",),
}

OPENINGS = (
    "the picture shows {np}",
    "this is a drawing of {np}",
    "a simple drawing presents {np}",
    "{np} {is} the first thing one notices",
    "at first glance one sees {np}",
    "the eye is drawn to {np}",
    "{np} {verb} in this picture",
    "someone has drawn {np}",
    "here we see {np}",
    "the viewer is met by {np}",
    "{np} {has} been drawn here",
    "look first for {np}",
    "the scene opens with {np}",
)
PLACED_OPENINGS = (
    "{place} {verb} {np}",
    "{place} there {is} {np}",
    "{np} {verb} {place}",
    "one finds {np} {place}",
    "{place}, one can make out {np}",
    "{np}, drawn {place}, {is} hard to miss",
)
BACKED_OPENINGS = (
    "on {ground} {verb} {np}",
    "{np} {verb} on {ground}",
    "against {ground} one sees {np}",
    "{np} {is} set against {ground}",
    "in front of {ground} {verb} {np}",
    "{ground} carries {np}",
)

# A new unit {np} that stands in relation {rel} to {known}; the last field says whom "it" means afterwards.
INTRODUCTIONS: tuple[tuple[str, str], ...] = (
    ("{front} {known} {verb} {np}", "new"),
    ("{front} {known} there {is} {np}", "new"),
    ("{front} {known}, one finds {np}", "new"),
    ("{front} {known} comes {np}", "new"),
    ("{np} {verb} {rel} {known}", "new"),
    ("there {is} also {np} {rel} {known}", "new"),
    ("next comes {np}, which {verb} {rel} {known}", "new"),
    ("{np} can be found {rel} {known}", "new"),
    ("{known} {known_has} {np} {rel_it}", "nobody"),
    ("{known} {known_is} {inverse} {np}", "nobody"),
    ("{known}, for {known_its} part, {known_verb} {inverse} {np}", "nobody"),
    ("look {front} {known} and there {is} {np}", "new"),
)
# The same where the known unit is the topic, so that a pronoun reaches it.
TOPIC_INTRODUCTIONS: tuple[tuple[str, str], ...] = (
    ("{rel_it} {verb} {np}", "new"),
    ("{rel_it} there {is} {np}", "new"),
    ("{rel_it}, one finds {np}", "new"),
    ("{np} {verb} {rel_it}", "new"),
    ("{known_it} {known_has} {np} {rel_it}", "nobody"),
    ("{known_its} neighbor {bare} {is} {np}", "new"),
    ("{known_it} {known_verb} {inverse} {np}", "nobody"),
    ("{known_it} {known_is} {inverse} {np}", "nobody"),
    ("{known_it} {known_has} a neighbor {bare}, {np}", "nobody"),
)
PLAIN_INTRODUCTIONS = (
    "there {is} also {np}",
    "the picture also holds {np}",
    "{np} {verb} nearby",
    "besides, one sees {np}",
    "another part of the scene is taken by {np}",
    "add to this {np}",
)

LISTS = (
    "the picture holds {things}: {list}",
    "{things} share the frame: {list}",
    "{list} share the frame",
    "{list} appear together",
    "here {list} have been brought together",
    "the scene consists of {list}",
    "the drawing is made up of {list}",
    "one sees {list}",
    "there are {things} here, namely {list}",
    "{things} meet in this drawing: {list}",
    "{list} can be told apart at once",
    "whoever looks at this picture finds {list}",
)
BACKED_LISTS = (
    "{list} are set against {ground}",
    "on {ground} one sees {list}",
    "in front of {ground} appear {list}",
    "{ground} carries {list}",
)
LINE_UPS = {
    "left of": (
        "from left to right, one sees {list}",
        "read from left to right, the picture shows {list}",
        "{list} follow one another from left to right",
        "going from left to right, there are {list}",
    ),
    "above": (
        "from top to bottom, one sees {list}",
        "read from top to bottom, the picture shows {list}",
        "{list} follow one another from top to bottom",
        "going from top to bottom, there are {list}",
    ),
}

# {subject} is "it" or a reference; {what} predicates such as "small, red and striped".
PREDICATES = (
    "{subject} {is} {what}",
    "{subject} {is} {what}",
    "{what}, {subject} {verb} there in plain sight",
    "looked at closely, {subject} {is} {what}",
    "as for {ref}, {it} {is} {what}",
    "one can tell that {subject} {is} {what}",
    "{subject} {is} clearly {what}",
    "{subject}, by the way, {is} {what}",
)
COLOR_PATTERNS = (
    "{its} color is {color}",
    "in color {subject} {is} {color}",
    "{color} is the color of {ref}",
    "{subject} {is} painted {color}",
    "{color} has been chosen for {ref}",
)
SIZE_PATTERNS = (
    "{subject} {is} rather {size}",
    "{subject} {is} {size} in size",
    "in size {subject} {is} {size}",
    "{subject} {is} drawn {size}",
)
SURFACE_PATTERNS = (
    "{its} surface is {texture}",
    "{subject} {has} a {texture} surface",
    "{clause}",
    "{clause}",
)

PAIR_PREDICATES = (
    "the former {is_a} {a}, the latter {is_b} {b}",
    "the former {is_a} {a}, while the latter {is_b} {b}",
    "the first {is_a} {a} and the second {is_b} {b}",
    "the latter {is_b} {b}, the former {is_a} {a}",
    "while {ref_a} {is_a} {a}, {ref_b} {is_b} {b}",
    "{ref_a} {is_a} {a}, whereas {ref_b} {is_b} {b}",
    "{ref_b} {is_b} {b}, but {ref_a} {is_a} {a}",
    "unlike {ref_a}, which {is_a} {a}, {ref_b} {is_b} {b}",
)
PAIR_COLORS = (
    "{color_a} belongs to {ref_a} and {color_b} to {ref_b}",
    "of the two colors, {color_a} belongs to {ref_a} and {color_b} to {ref_b}",
    "{color_b} belongs to {ref_b}, {color_a} to {ref_a}",
    "{color_a} is the color of {ref_a}, {color_b} that of {ref_b}",
)
SHARED = (
    "{both} are {what}",
    "what they have in common is that {both} are {what}",
    "{both} happen to be {what}",
)

# {a} stands in relation {rel} to {b}, both known.
RELATIONS_SAID = (
    "{a} {verb} {rel} {b}",
    "{a} {is} {rel} {b}",
    "{front} {b} {verb} {a}",
    "{b} {b_has} {a} {rel_it}",
    "one must look {front} {b} to find {a}",
    "in the drawing, {a} {is} {rel} {b}",
    "{a} {has} {place_word} {rel} {b}",
)
PAIR_RELATIONS_SAID = (
    "the former {verb} {rel} the latter",
    "the former {is} {rel} the latter",
    "{front} the latter {verb} the former",
)

PLACE_SENTENCES = (
    "{subject} {verb} {place}",
    "{subject} {has} been drawn {place}",
    "{place} is where {subject} {verb}",
    "one finds {them} {place}",
    "{subject} {has} {their} spot {place}",
    "the artist put {them} {place}",
    "look for {them} {place}",
)

# (row, column) of the frame's thirds; None where it cannot be said.
PLACES: dict[tuple[int | None, int | None], tuple[str, ...]] = {
    (0, 0): ("in the upper left corner", "at the top left"),
    (0, 1): ("at the top", "near the upper edge"),
    (0, 2): ("in the upper right corner", "at the top right"),
    (1, 0): ("on the left side", "near the left edge"),
    (1, 1): ("in the middle", "at the center of the frame"),
    (1, 2): ("on the right side", "near the right edge"),
    (2, 0): ("in the lower left corner", "at the bottom left"),
    (2, 1): ("at the bottom", "near the lower edge"),
    (2, 2): ("in the lower right corner", "at the bottom right"),
    (0, None): ("in the upper part of the frame",),
    (2, None): ("in the lower part of the frame",),
    (None, 0): ("in the left part of the frame",),
    (None, 2): ("in the right part of the frame",),
}

# Noun phrases for each background ({ground} in sentences) and clauses that stand alone.
GROUNDS = {
    "gray": ("an even gray background", "a light gray backdrop", "a gray ground"),
    "beige": ("a plain beige background", "a beige backdrop", "an even beige ground"),
    "pale blue": ("a pale blue background", "an even pale blue backdrop", "a plain pale blue ground"),
    "sage": ("a sage background", "a plain sage backdrop", "a muted sage ground"),
    "lilac": ("a lilac background", "a soft lilac backdrop", "an even lilac ground"),
    "gray gradient": ("a gray background that darkens downwards", "a backdrop of gray that deepens downwards"),
    "dawn gradient": (
        "a background that fades from pale blue down to beige",
        "a backdrop that melts from pale blue into beige",
    ),
    "horizon": (
        "a background of pale blue over beige",
        "a backdrop with a pale blue top half and a beige bottom half",
    ),
    "split": (
        "a background of lilac beside sage",
        "a backdrop whose left half is lilac and whose right half is sage",
    ),
}
BACKGROUND_CLAUSES = {
    "plain": (
        "behind {everything} there is nothing but {ground}",
        "the background is {tone} from edge to edge",
        "the whole background is {tone}",
        "a single tone, {tone}, fills the background",
        "all of this stands on {ground}",
        "the backdrop keeps to one tone, {tone}",
        "{ground} lies behind {everything}",
        "{ground} completes the picture",
    ),
    "gray gradient": (
        "the background is light gray at the top and turns darker towards the bottom",
        "behind {everything}, the gray of the background deepens from top to bottom",
        "the backdrop starts out light gray and darkens on the way down",
        "{ground} completes the picture",
    ),
    "dawn gradient": (
        "the background fades smoothly from pale blue at the top to beige at the bottom",
        "behind {everything}, pale blue melts into beige like the sky at dawn",
        "the backdrop begins in pale blue and ends in beige",
        "{ground} completes the picture",
    ),
    "horizon": (
        "the background is cut in two by a level line, with pale blue over beige",
        "behind {everything}, a pale blue half meets a beige half along the horizon",
        "the backdrop has a pale blue upper half and a beige lower half",
        "{ground} completes the picture",
    ),
    "split": (
        "the background is parted down the middle, with lilac beside sage",
        "behind {everything}, a lilac half meets a sage half along an upright line",
        "the backdrop has a lilac left half and a sage right half",
        "{ground} completes the picture",
    ),
}

# One of each row at most: they say the same in other words.
CLOSERS: tuple[tuple[str, ...], ...] = (
    (
        "nothing else is in the picture",
        "apart from this the frame is empty",
        "the rest of the frame has been left free",
        "no other object can be found",
    ),
    ("there is no sign of any lettering", "nobody has signed the drawing", "no text is to be found"),
    (
        "every edge is crisp and clean",
        "not a single edge is blurred",
        "the style is flat and simple, without any shading",
        "the light is even and casts no shadow",
    ),
    ("it is a calm and tidy composition", "the whole makes a quiet impression", "the drawing is neat and simple"),
)
CLOSERS_OF_SEVERAL = (
    (
        "nothing touches or overlaps",
        "some empty space keeps everything apart",
        "no figure hides another",
    ),
    (
        "there are {things} in all",
        "that makes {things} altogether",
        "counting everything, one arrives at {things}",
    ),
)
CLOSERS_OF_ONE = (
    ("a single figure is all there is", "only this one figure is shown", "the figure has the whole frame to itself"),
    ("the figure can hardly be missed", "the figure stands out well from the background"),
)
GROUP_CLOSERS = (
    "{they} look exactly alike",
    "one could not tell {them} apart",
    "{they} are copies of one another",
)
FREE_SPACE = (
    "nothing at all is in the {half} half of the frame",
    "the {half} half of the picture is free",
    "in the {half} half of the frame there is only background",
)
# What can be said of a shape wherever it appears; {subject} and {its} as above, singular only.
SHAPE_REMARKS = {
    "circle": ("{subject} is perfectly round", "no corner breaks {its} curve"),
    "square": ("{its} four sides are equal", "{subject} has four straight sides and four corners"),
    "triangle": ("{its} three corners are sharp", "{subject} points upwards with one of three corners"),
    "diamond": ("{subject} stands on one of {their} corners", "{its} four corners point in four directions"),
    "pentagon": ("{subject} has five sides", "{its} five corners are evenly spread"),
    "hexagon": ("{subject} has six sides", "{its} six corners are evenly spread"),
    "star": ("{subject} has five points", "{its} five points reach outwards"),
    "heart": ("{subject} has two round lobes and a point at the foot", "{its} two lobes are round"),
    "cross": ("{its} four arms are equally long", "{subject} has four arms of equal length"),
    "crescent": ("{subject} opens to the side like a young moon", "{its} two horns face the same side"),
    "arrow": ("{its} tip points sideways", "{subject} has a shaft and a broad tip"),
    "semicircle": ("{its} flat side is underneath", "{subject} has a curved side and a flat one"),
}
