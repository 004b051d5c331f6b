"""What the paper printed, and the layout it printed it in: never measured here, never ranked with what was.

Source: LLM4GEN (arXiv 2407.00737), version 1, Tables 1 and 2 and Figure 6. Figure 6 is read off the plot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table of the paper, and what fills it here: `metric` in `category` (None: over all prompts).

    `family` names the kind of score where it is not the headline: of "is", the kind is "is[MODE]". Values of ours are
    multiplied by `scale` and printed with `digits`. `note` is the key of the note on the column.
    """

    name: str
    title: str
    metric: str
    category: str | None = None
    scale: float = 1.0
    digits: int = 2
    note: str | None = None
    family: str | None = None


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """A model's values in the order of the columns; None where the paper has none. `note` is the key of a note."""

    model: str
    values: tuple[float | None, ...]
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Published:
    """A table of the paper: `columns` are its own, followed by those that only we have."""

    source: str
    unit: str
    columns: tuple[Column, ...]
    rows: tuple[PublishedRow, ...]
    notes: Mapping[str, str] = field(default_factory=dict)


NOT_RANKED = (
    "As printed in the paper, not measured by this run. Versions of protocol, weights and libraries, seeds and "
    "numbers of images behind these rows are not known: they cannot be ranked with the rows that this run measured."
)

_COMPBENCH = Published(
    source="LLM4GEN (arXiv 2407.00737v1), Table 1",
    unit="%",
    columns=(
        Column("color", "Color", "t2i_compbench.blip_vqa", "color", 100),
        Column("shape", "Shape", "t2i_compbench.blip_vqa", "shape", 100),
        Column("texture", "Texture", "t2i_compbench.blip_vqa", "texture", 100),
        Column("spatial", "Spatial", "t2i_compbench.spatial_2d", "spatial", 100),
        Column("non_spatial", "Non-spatial", "t2i_compbench.clip", "non_spatial", 100),
        Column("complex", "Complex", "t2i_compbench.three_in_one", "complex", 100),
        Column("3d_spatial", "3D spatial", "t2i_compbench.spatial_3d", "3d_spatial", 100, note="later"),
        Column("numeracy", "Numeracy", "t2i_compbench.numeracy", "numeracy", 100, note="later"),
    ),
    rows=(
        PublishedRow("Composable", (40.63, 32.99, 36.45, 8.00, 29.80, 28.98)),
        PublishedRow("Structured", (49.90, 42.18, 49.00, 13.86, 31.11, 33.55)),
        PublishedRow("Attn-Exct v2", (64.00, 45.17, 59.63, 14.55, 31.09, 34.01)),
        PublishedRow("GORS", (66.03, 47.85, 62.87, 18.15, 31.93, 33.28)),
        PublishedRow("DALL-E 2", (57.50, 54.64, 63.74, 12.83, 30.43, 36.96)),
        PublishedRow("PixArt-alpha", (68.86, 55.82, 70.44, 20.82, 31.79, 41.17)),
        PublishedRow("ELLA-SDXL", (72.60, 56.34, 66.86, 22.14, 30.69, None), "ella"),
        PublishedRow("SD1.5", (37.65, 35.76, 41.56, 12.46, 30.79, 30.80), "sd14"),
        PublishedRow("LLM4GEN-SD1.5", (45.34, 43.28, 51.52, 13.12, 30.94, 32.33), "margins"),
        PublishedRow("SDXL", (63.69, 54.08, 56.37, 20.32, 31.10, 40.91)),
        PublishedRow("LLM4GEN-SDXL", (73.29, 57.34, 67.86, 22.59, 31.94, 41.23), "margins"),
    ),
    notes={
        "later": "Of T2I-CompBench++; the paper's Table 1 does not have this category.",
        "sd14": "This row equals that of Stable Diffusion v1.4 in T2I-CompBench (0.3765, 0.3576, 0.4156, 0.1246, "
        "0.3079 in Table 3 of ELLA); for v1.5 ELLA measured 0.3750, 0.3724, 0.4159, 0.1204, 0.3088.",
        "ella": "ELLA-SD1.5 is not in the paper's table: 69.11, 49.38, 63.08, 18.67, 30.62 by ELLA's own account.",
        "margins": "Three of the margins that the paper prints beside these rows are not the differences of its rows: "
        "texture, SD1.5 9.96 (printed 9.94); texture, SDXL 11.49 (11.52); complex, SDXL 0.32 (0.33).",
    },
)

_DENSPROMPTS = Published(
    source="LLM4GEN (arXiv 2407.00737v1), Figure 6",
    unit="aesthetic score; CLIP score, 100 x cosine",
    columns=(
        Column("aesthetic", "Aesthetic", "aesthetic", note="plot"),
        Column("clip_score", "CLIP score", "clip_score", note="plot"),
    ),
    rows=(
        PublishedRow("SD1.5", (5.50, 24.2)),
        PublishedRow("SDXL", (6.19, 25.3)),
        PublishedRow("LLM4GEN-SD1.5", (6.37, 26.2)),
        PublishedRow("Playground v2", (6.42, 28.0)),
        PublishedRow("PixArt-alpha", (6.45, 27.4)),
        PublishedRow("LLM4GEN-SDXL", (6.83, 28.5)),
    ),
    notes={
        "plot": "Published values are read off the plot, to about 0.02 of the aesthetic and 0.05 of the CLIP score. "
        "CLIP model, aesthetic predictor, images per prompt and what was done beyond 77 tokens are not known.",
    },
)

_COCO = Published(
    source="LLM4GEN (arXiv 2407.00737v1), Table 2",
    unit="FID, lower is better; IS; CLIP score, 100 x cosine",
    columns=(
        Column("fid", "FID", "fid", note="subset"),
        Column("inception_score", "IS", "fid", note="subset", family="is"),
        Column("clip_score", "CLIP score", "clip_score"),
    ),
    rows=(
        PublishedRow("SD1.5", (26.89, 32.24, 28.66)),
        PublishedRow("SD1.5 (fine-tuned, no LLM)", (25.48, 33.53, 29.10), "control"),
        PublishedRow("LLM4GEN-SD1.5", (25.20, 34.24, 29.45)),
        PublishedRow("SDXL", (24.75, 34.91, 30.10)),
        PublishedRow("LLM4GEN-SDXL", (24.21, 35.10, 30.91)),
    ),
    notes={
        "subset": "Size and choice of the paper's subset of MS-COCO are not known; FID and IS depend on the number of "
        "images.",
        "control": "Of the gain of LLM4GEN-SD1.5 over SD1.5, 1.41 of 1.69 in FID and 0.44 of 0.79 in CLIP score come "
        "from this fine-tuning on refined data alone.",
    },
)

# By what stands before the "@" in a suite's name.
PUBLISHED = {"t2i-compbench": _COMPBENCH, "densprompts": _DENSPROMPTS, "coco": _COCO}


def published_for(suite: str) -> Published | None:
    """The paper's table for a suite; None where it has none."""
    return PUBLISHED.get(suite.partition("@")[0])
