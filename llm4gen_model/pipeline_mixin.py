"""What the LLM4GEN pipelines add to their stock pipelines: components, loading, saving, encoding."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from diffusers.utils import USE_PEFT_BACKEND, scale_lora_layers, unscale_lora_layers

from llm4gen_data.errors import UserError
from llm4gen_data.runs import write_text
from llm4gen_model.conditioning import PromptEmbeds, PromptEncoder, masked_cross_attention
from llm4gen_model.layouts import PIPELINE_FILE, find_folder, layout_file
from llm4gen_model.llm import LLMSettings
from llm4gen_model.llms.last_hidden_states import LastHiddenStates
from llm4gen_model.llms.pretrained import language_model_of
from llm4gen_model.pipeline_card import model_card
from llm4gen_model.timesteps import fused_per_step

if TYPE_CHECKING:
    from llm4gen_model.models import Model

ADDED_COMPONENTS = ["cam", "llm", "llm_tokenizer"]
LOAD_OPTIONS = ("device", "offload", "base", "llm_dtype", "llm_quantize")
HUB_OPTIONS = ("cache_dir", "force_download", "proxies", "token", "local_files_only", "revision")
CUSTOM_PIPELINES = Path(__file__).parent / "custom_pipelines"


class LLM4GenMixin:
    """What the pipelines share: loading, saving, and the prompt encoder over their components.

    `cam` is any connector, `llm` a transformers model without a head, `llm_settings` the fields of `LLMSettings`,
    `llm_sha256` its files' hashes; without a CAM the pipeline equals the stock one. `long_prompts`,
    `prompt_weights` and `llm_token_buckets` are those of `PromptEncoder`. All of it is saved.
    """

    _stock: ClassVar[Any]
    _custom_pipeline: ClassVar[str]
    cam: Any
    llm: Any
    llm_tokenizer: Any
    config: Any
    unet: Any
    load_config: ClassVar[Any]
    register_modules: ClassVar[Any]
    register_to_config: ClassVar[Any]

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> Any:
        """A pipeline from what `save_pretrained` wrote, or from an export of `train` or the authors' layout.

        For the latter two, `base`, `llm_dtype` and the like are those of `load_model`. Of a base model too (mini,
        sd15, sdxl, a folder, a hub id), with `cam=`, `llm=` and `llm_tokenizer=` beside it. A `dtype` is for all but
        the language model, which keeps the one it was trained with unless a dictionary says otherwise.
        """
        from llm4gen_model.models import MODEL_SPECS, load_model

        name = str(pretrained_model_name_or_path)
        dtype = kwargs.pop("dtype", kwargs.pop("torch_dtype", None))
        folder = find_folder(name) if name not in MODEL_SPECS else None
        if name in MODEL_SPECS or (folder is not None and layout_file(folder) != PIPELINE_FILE):
            options = {option: kwargs.pop(option) for option in LOAD_OPTIONS if option in kwargs}
            precision = "float32" if dtype is None else str(dtype).removeprefix("torch.")
            return cls.from_model(load_model(name, dtype=precision, **options), **kwargs)
        settings = cls.load_config(name, **{key: kwargs[key] for key in HUB_OPTIONS if key in kwargs}).get(
            "llm_settings"
        )
        if not isinstance(dtype, dict) and settings is not None:
            dtype = {"default": dtype or torch.float32, "llm": getattr(torch, settings["dtype"])}
        return super().from_pretrained(name, **({} if dtype is None else {"dtype": dtype}), **kwargs)  # type: ignore[misc]

    @classmethod
    def from_model(cls, model: Model, **components: Any) -> Any:
        """The pipeline of a loaded `models.Model`, sharing its weights; `components` replace its own.

        Raises UserError for another base, or a language model that is none of transformers'.
        """
        if not isinstance(model.pipeline, cls._stock):
            raise UserError(
                f"model {model.name!r} has a {type(model.pipeline).__name__}, "
                f"{cls.__name__} needs a {cls._stock.__name__}"
            )
        encoder, added = model.prompt_encoder, {}
        if encoder.llm is not None:
            if not isinstance(encoder.llm, LastHiddenStates):
                raise UserError(f"language model {encoder.llm.name!r} is none of transformers', and cannot be saved")
            added = {
                "cam": encoder.cam,
                "llm": encoder.llm.model,
                "llm_tokenizer": encoder.llm.tokenizer,
                "llm_name": encoder.llm.name,
                "llm_settings": dataclasses.asdict(encoder.llm.settings),
                "llm_sha256": encoder.llm.identity()["sha256"],
            }
        options = {name: getattr(encoder, name) for name in ("long_prompts", "prompt_weights", "llm_token_buckets")}
        parts = {**model.pipeline.components, **model.pipeline.parameters, **added, **options, **components}
        return cls(**parts)

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:
        """Write the pipeline as diffusers does, with a model card and the file that loads it as a custom pipeline.

        With `push_to_hub=True` and `repo_id` the folder is uploaded too.
        """
        self._write_card(Path(save_directory))
        super().save_pretrained(str(save_directory), **kwargs)  # type: ignore[misc]

    def _upload_folder(self, working_dir: str, repo_id: str, **kwargs: Any) -> Any:
        # diffusers has put a card of its own there
        self._write_card(Path(working_dir), repo_id)
        return super()._upload_folder(working_dir, repo_id, **kwargs)  # type: ignore[misc]

    def _write_card(self, folder: Path, repo_id: str | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "README.md", model_card(self, repo_id or folder.absolute().name))
        shutil.copyfile(CUSTOM_PIPELINES / self._custom_pipeline, folder / "pipeline.py")

    @property
    def prompt_encoder(self) -> PromptEncoder:
        """The encoder over the pipeline's components as they are now, for any other pipeline over the same ones."""
        names = ("tokenizer", "tokenizer_2", "text_encoder", "text_encoder_2", *ADDED_COMPONENTS)
        parts = [getattr(self, name, None) for name in names]
        made_of, encoder = getattr(self, "_prompt_encoder", ([], None))
        if encoder is None or any(part is not other for part, other in zip(parts, made_of, strict=True)):
            encoder = PromptEncoder.from_pipeline(
                self,
                llm=self._language_model(),
                cam=self.cam,
                **{name: self.config[name] for name in ("long_prompts", "prompt_weights", "llm_token_buckets")},
            )
            self._prompt_encoder = (parts, encoder)
        return encoder

    def _language_model(self) -> LastHiddenStates | None:
        if self.llm is None:
            return None
        trained = _settings(self.config.llm_settings)
        dtype = str(self.llm.dtype).removeprefix("torch.")
        if dtype != trained.dtype:
            warnings.warn(
                f"the language model computes in {dtype}, the CAM knows its features in {trained.dtype}", stacklevel=3
            )
        # where it computes is the pipeline's business: .to() or enable_model_cpu_offload()
        settings = _settings({**dataclasses.asdict(trained), "dtype": dtype, "offload": False})
        files = dict(self.config.llm_sha256 or {})
        return language_model_of(self.config.llm_name, self.llm, self.llm_tokenizer, settings, files=files)

    def _register_llm(
        self,
        cam: Any,
        llm: Any,
        llm_tokenizer: Any,
        *,
        llm_name: str | None,
        llm_settings: dict[str, Any] | None,
        llm_sha256: dict[str, str] | None,
        **options: Any,
    ) -> None:
        given = [part is not None for part in (cam, llm, llm_tokenizer)]
        if any(given) != all(given) or (llm_name is not None and not all(given)):
            raise UserError(f"{type(self).__name__}: expected cam, llm and llm_tokenizer; from_pipe needs them too")
        if all(given):
            llm_settings = dataclasses.asdict(_settings(llm_settings or {"dtype": str(llm.dtype).partition(".")[2]}))
            origin = llm.config.name_or_path or type(llm).__name__
            llm_name = llm_name or (Path(origin).name if Path(origin).is_dir() else origin)
        self.register_modules(cam=cam, llm=llm, llm_tokenizer=llm_tokenizer)
        self.register_to_config(llm_name=llm_name, llm_settings=llm_settings, llm_sha256=llm_sha256 or None, **options)

    def _encode(
        self,
        prompt: str | Sequence[str],
        negative_prompt: str | Sequence[str] | None,
        llm_prompt: str | Sequence[str] | None = None,
        *,
        negative_llm_prompt: str | Sequence[str] | None = None,
        cam_scale: float | None = None,
        drop_llm_tokens: bool = False,
        lora_scale: float | None = None,
        clip_skip: int | None = None,
    ) -> PromptEmbeds:
        if clip_skip is not None:
            raise UserError("clip_skip: the CAM knows the text encoder's own last states only")
        texts = [prompt] if isinstance(prompt, str) else list(prompt)
        with _lora_scaled(self.prompt_encoder.text_encoders, lora_scale):
            return self.prompt_encoder.encode(
                texts,
                _for_each(negative_prompt, texts),
                _for_each(llm_prompt, texts),
                negative_llm_prompts=_for_each(negative_llm_prompt, texts),
                cam_scale=cam_scale,
                drop_llm_tokens=drop_llm_tokens,
            )

    @torch.no_grad()
    def _call(self, prompt: Any, llm_options: dict[str, Any], kwargs: dict[str, Any]) -> Any:
        """The stock pipeline's call with the embeds of `prompt`, or with those that `kwargs` bring."""
        with contextlib.ExitStack() as hooks:
            if prompt is not None and kwargs.get("prompt_embeds") is None:
                lora_scale = (kwargs.get("cross_attention_kwargs") or {}).get("scale")
                embeds = self._encode(
                    prompt,
                    kwargs.pop("negative_prompt", None),
                    lora_scale=lora_scale,
                    clip_skip=kwargs.get("clip_skip"),
                    **llm_options,
                )
                prompt, kwargs = None, {**kwargs, **embeds.as_kwargs()}
                hooks.enter_context(masked_cross_attention(self.unet, embeds))
            if self.cam is not None and self.cam.uses_timestep:
                hooks.enter_context(fused_per_step(self, self.cam))
            return super().__call__(prompt, **kwargs)  # type: ignore[misc]


@contextlib.contextmanager
def _lora_scaled(text_encoders: Sequence[Any], scale: float | None) -> Iterator[None]:
    scaled = [] if scale is None or not USE_PEFT_BACKEND else text_encoders
    for text_encoder in scaled:
        scale_lora_layers(text_encoder, scale)
    try:
        yield
    finally:
        for text_encoder in scaled:
            unscale_lora_layers(text_encoder, scale)


def _for_each(text: str | Sequence[str] | None, texts: Sequence[str]) -> Sequence[str] | None:
    return [text] * len(texts) if isinstance(text, str) else text


def _settings(fields: dict[str, Any]) -> LLMSettings:
    try:
        return LLMSettings(**fields)
    except TypeError as error:
        raise UserError(f"llm_settings: {error}; expected the fields of LLMSettings") from error
