"""The published versions of T2I-CompBench's protocol, and which prompt file each of them reads.

Scores of two versions cannot be compared: the move from two phrases to eight alone changed attribute scores by points.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from benchmarks.suites.t2i_compbench.language import STOP_PHRASES
from benchmarks.suites.t2i_compbench.rules import Mode
from llm4gen_data.errors import UsageError

NAME = "t2i-compbench"
Split = Literal["seen", "unseen"]

ATTRIBUTES = ("color", "shape", "texture")
SIX = (*ATTRIBUTES, "spatial", "non_spatial", "complex")
EIGHT = (*ATTRIBUTES, "spatial", "3d_spatial", "numeracy", "non_spatial", "complex")

# Commits of https://github.com/Karine-Huang/T2I-CompBench
COMMIT = "3310c2f1f43cc173505fc40cf6cc70762f090c07"
COMMIT_OLD_COLORS = "7710d059c3391fe97fbf9e2ad3813ed0e7d87979"


@dataclass(frozen=True, slots=True)
class PromptFile:
    """A file of the repository's `examples/dataset`, as it was at `commit`; kept here under `name`."""

    name: str
    sha256: str
    remote_name: str = ""
    commit: str = COMMIT

    @property
    def url(self) -> str:
        """Where it is downloaded from."""
        folder = f"https://raw.githubusercontent.com/Karine-Huang/T2I-CompBench/{self.commit}/examples/dataset"
        return f"{folder}/{self.remote_name or self.name}"


NEW_COLORS = PromptFile("color_val.txt", "1634259756dbc77d13093d907d414480080ec9790a8c97ad09efaea7b2534f2d")
OLD_COLORS = PromptFile(
    "color_val_before_2025-09-03.txt",
    "1e37a12c1861bf6b11623eaffb0bf6d6eeea9702caf45b95d040f1721bba7f4f",
    "color_val.txt",
    COMMIT_OLD_COLORS,
)
FILES = {
    "color": NEW_COLORS,
    "shape": PromptFile("shape_val.txt", "37e1a276906c7ea9516cbd7ac8501be896006c0c17ca7344f260562834455bae"),
    "texture": PromptFile("texture_val.txt", "fbb5363515b4a28009e360afaaaf389d2dd2289e50dbb0c6ef4ea0c7fe4f3d4f"),
    "spatial": PromptFile("spatial_val.txt", "8707a1d7e42ce3002d95363cf55f74bd043c843ae27108f5125aaaa7840ca988"),
    "3d_spatial": PromptFile("3d_spatial_val.txt", "c9953597315f36a5fcb41291bb19bdc6ab5f64a0fa760d691b4854a73f5d1fe9"),
    "numeracy": PromptFile("numeracy_val.txt", "dad8df141604b70ba7554bec724e3db0a80023680769b5c514854ea2d2527bbe"),
    "non_spatial": PromptFile(
        "non_spatial_val.txt", "04c56cc9ac441dc9ea6c5157652058bd1635b5308526dd31bb29a1caab9a758d"
    ),
    "complex": PromptFile("complex_val.txt", "1b808018b8d9916db3d47d5aa2ef18377a3549a56901a474156f799824cdf3b4"),
}
# Which complex prompts ask for what; the rest asks for both.
COMPLEX_KINDS = {
    "spatial": PromptFile(
        "complex_val_spatial.txt", "6c7ac0ab75c7c9080cfc7b421fb059b9b0febb98471707aeedf58771088abc02"
    ),
    "action": PromptFile("complex_val_action.txt", "d49ee4c7f99e3f3379fb8704a54ff5288b83bb412971edf616a4721c2473308e"),
}
# Attribute prompts whose pairs the training prompts hold, and those whose pairs they do not; of the old colours.
SPLITS: dict[str, dict[Split, PromptFile]] = {
    "color": {
        "seen": PromptFile("color_val_seen.txt", "9b2859d9107b2ed4cae95808749de5ac3557a280eb79067a8ef55c4eec7711a9"),
        "unseen": PromptFile(
            "color_val_unseen.txt", "7fa6f76bb602df9624262ee819f0b1ede20c14880cbacfb7fe8ce79f8157b5c2"
        ),
    },
    "shape": {
        "seen": PromptFile("shape_val_seen.txt", "5581f4c8904e11b00fe6e33d2cc21a5822f59f39f43fa51479bc30aa6d458a4d"),
        "unseen": PromptFile(
            "shape_val_unseen.txt", "35b17a7b015405c5c96c51c5cd969a786b3855c48e6f68c184626f5db444d987"
        ),
    },
    "texture": {
        "seen": PromptFile("texture_val_seen.txt", "5548a49c68efefbbc88b2eb6dffd0f141373235370659158a5d15fdbd82c8c96"),
        "unseen": PromptFile(
            "texture_val_unseen.txt", "6035f7dd8fd9efd6fbeedef64b04e1f651e977b2a1b9c47365c9e4eed0edc27b"
        ),
    },
}


@dataclass(frozen=True, slots=True)
class Version:
    """What a version of the protocol does otherwise than the others.

    `equal_plurals`: whether numeracy reads nouns whose plural is their singular as it does now; how it read them
    before 2025-01 is not known.
    """

    name: str
    categories: tuple[str, ...] = EIGHT
    max_phrases: int = 8
    stop_phrases: frozenset[str] = STOP_PHRASES
    images_per_prompt: int = 10
    equal_plurals: bool = True
    colors: PromptFile = OLD_COLORS

    @property
    def files(self) -> Mapping[str, PromptFile]:
        """The prompt file of each category."""
        return {category: self.colors if category == "color" else FILES[category] for category in self.categories}


VERSIONS = {
    version.name: version
    for version in (
        Version("2023-07", SIX, 2, frozenset(), images_per_prompt=30),
        Version("2023-12", SIX, stop_phrases=frozenset(), images_per_prompt=30),
        Version("2024-01", SIX),
        Version("2024-03", equal_plurals=False),
        Version("2025-01"),
        Version("2025-09", colors=NEW_COLORS),
    )
}
CURRENT = "t2i-compbench@2025-09/official"


def parse_protocol(protocol: str) -> tuple[Version, Mode]:
    """Version and mode of "t2i-compbench@2025-09/official". Raises UsageError for one that does not exist."""
    name, _, rest = protocol.partition("@")
    version, _, mode = rest.partition("/")
    for known in get_args(Mode):
        if name == NAME and version in VERSIONS and mode == known:
            return VERSIONS[version], known
    raise UsageError(
        f"protocol {protocol!r} is unknown: expected {NAME}@VERSION/MODE, VERSION one of {', '.join(VERSIONS)}, "
        f"MODE one of {', '.join(get_args(Mode))}"
    )
