"""Any architecture of Hugging Face's transformers library, between our reading in and reading out.

The library is the extra ``[transformers]``; it is imported when a model is checked or built, and not before.
Dimensions: b = prompts, t = tokens, w = width, m = numbers of a label.
"""

from __future__ import annotations

import copy
import functools
import importlib
import inspect
import json
import re
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from icl_curriculum.core.errors import UserError, did_you_mean
from icl_curriculum.core.extras import EXTRAS
from icl_curriculum.core.machine import machine_memory
from icl_curriculum.models.base import Capability, ModelConfig, register_model
from icl_curriculum.models.capabilities import TWICE_DIFFERENTIABLE, WITH_HEADS
from icl_curriculum.models.instructions import Instruction
from icl_curriculum.models.tokens import TokenReader, empty, exactly

_FIELD, _ARCHITECTURE = "model.fields", "model.architecture"
#: What the default architecture is without fields of one's own: as large as the default transformer.
_SMALL = {"n_embd": 64, "n_layer": 3, "n_head": 2}
#: What is set wherever an architecture has it: no cache, no vocabulary.
_ALWAYS = {"use_cache": False, "vocab_size": 1, "bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
#: Numbers in memory for each weight that is trained: itself, its gradient, and what optimizers keep of it.
_COPIES = 4
#: Names of the field that bounds the tokens of a prompt; an architecture with neither reads prompts of any length.
_LONGEST_NAMES, _LONGEST = ("max_position_embeddings", "context_length"), 1_000_000

_Value = bool | int | float | str | list[Any] | dict[str, Any] | None


@register_model("huggingface")
class HuggingFaceConfig(ModelConfig):
    """Any causal architecture of Hugging Face's transformers, by its config class.

    ``architecture`` is the name of a config class, ``fields`` its fields: ``architecture = "LlamaConfig"``, ``fields =
    {hidden_size = 64, num_hidden_layers = 3, num_attention_heads = 2, intermediate_size = 256}``. Fields that are not
    given are the library's defaults, which are often billions of weights large; only ``GPT2Config`` without any fields
    is small. Drop-out, caches and vocabularies are off. The network gets the tokens of a prompt as ``inputs_embeds``
    and may not look at later ones; separate queries are asked prompt by prompt.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {Capability.EXPLICIT_PARAMETERS, Capability.INSTRUCTION, Capability.VECTOR_LABELS}
    )
    needs_extra: ClassVar[str] = "transformers"
    takes_queries: ClassVar[bool] = False
    positions: ClassVar[str] = "none"

    architecture: str = Field("GPT2Config", description="the config class of the transformers library")
    fields: dict[str, Any] | None = Field(
        None, description="fields of that config; none: its defaults, and for GPT2Config 3 layers, 2 heads, width 64"
    )
    tokens: Literal["alternate", "joint"] = Field(
        "joint",
        description="'alternate': x and y in turn (GPT-2 as in Garg et al.); 'joint': each x beside the pair before it",
    )

    def lacks(self, capability: Capability) -> str | None:
        if capability == Capability.SECOND_DERIVATIVES:
            return f"the library's fused kernels have no second derivatives; {TWICE_DIFFERENTIABLE}"
        if capability in (Capability.ATTENTION, Capability.HEAD_MASK):
            return f"architectures of the library have attention heads in ways of their own; {WITH_HEADS}"
        return super().lacks(capability)

    def check(self, *, dims: int, points: int) -> None:
        """UserError without the library, and for an architecture or fields that it doesn't know or that cannot serve.

        What cannot serve takes no ``inputs_embeds``, or looks at later tokens.
        """
        longest = self._longest()
        if longest < points:
            raise UserError(
                f"{self.architecture} reads prompts of at most {longest} points, and there are {points}",
                key=_FIELD,
                way_out=f"set its field {' or '.join(_LONGEST_NAMES)}",
            )
        _probed(self.architecture, json.dumps(self._given(), sort_keys=True), min(longest, 5))

    def _given(self) -> dict[str, Any]:
        if self.fields is None:
            return _SMALL if self.architecture == "GPT2Config" else {}
        return self.fields

    def _bounds(self) -> dict[str, int]:
        """The fields that bound the tokens of a prompt, by name."""
        config = _config(self.architecture, self._given())
        found = {name: getattr(config, name, None) for name in _LONGEST_NAMES}
        return {name: value for name, value in found.items() if isinstance(value, int)}

    def _with_room(self, tokens: int) -> dict[str, Any]:
        """The fields of an architecture that has room for so many instruction tokens beside its longest prompt."""
        room = {name: value + tokens for name, value in self._bounds().items()} if tokens else {}
        own = _config(self.architecture, {}).attribute_map
        return {**self._given(), **{own.get(name, name): value for name, value in room.items()}}

    def _longest(self) -> int:
        """The most points of a prompt, by the positions of the architecture."""
        tokens = min(self._bounds().values(), default=_LONGEST)
        return tokens if self.tokens == "joint" else (tokens + 1) // 2

    def longest_prompt(self, points: int) -> int:
        return max(points, self._longest())

    def build(
        self,
        *,
        dims: int,
        points: int,
        generator: torch.Generator,
        instruction: Instruction | None = None,
        label_dims: int = 1,
    ) -> HuggingFace:
        self.check(dims=dims, points=points)
        # One seed for the library, which draws from the global generator; ours is the one that decides.
        seed = int(torch.randint(2**62, (), generator=generator))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            backbone = _backbone(self.architecture, self._with_room(0 if instruction is None else instruction.tokens))
        longest = self.longest_prompt(points)
        model = HuggingFace(
            self, backbone, dims=dims, max_points=longest, instruction=instruction, label_dims=label_dims
        )
        model.initialize(generator)
        return model


class _Width:
    """What `TokenReader` reads of a config, for a backbone whose width is its own."""

    def __init__(self, config: HuggingFaceConfig, width: int) -> None:
        self.tokens, self.positions, self.width = config.tokens, config.positions, width


class HuggingFace(TokenReader):
    """The network that a `HuggingFaceConfig` describes: the library's, between two matrices of ours."""

    def __init__(
        self,
        config: HuggingFaceConfig,
        backbone: nn.Module,
        *,
        dims: int,
        max_points: int,
        instruction: Instruction | None = None,
        label_dims: int = 1,
    ) -> None:
        width = _Width(config, _width(backbone))
        super().__init__(width, dims=dims, max_points=max_points, instruction=instruction, label_dims=label_dims)
        self.backbone = backbone
        self.read_out = empty(label_dims, width.width)
        self.read_out_bias = empty(label_dims)
        self.make_instruction_vectors()
        self.matrices = tuple(name for name, value in self.named_parameters() if _is_matrix(name, value))

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """Draw the weights of reading in and out, N(0, 1/fan_in), biases 0; the library has drawn its own."""
        for name, value in self.named_parameters():
            if name.startswith("backbone."):
                continue
            if name.endswith("_bias"):
                value.zero_()
            else:
                value.copy_(torch.randn(value.shape, generator=generator) * value.shape[-1] ** -0.5)
        if not isinstance(vectors := getattr(self, "instruction_vectors", None), nn.Parameter) and vectors is not None:
            vectors.copy_(torch.randn(vectors.shape, generator=generator))

    def train(self, mode: bool = True) -> HuggingFace:
        """The same in training and in evaluation mode: what the library would do in training is off."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(
        self,
        xs: Float[Tensor, "batch points dims"],
        ys: Float[Tensor, "batch points *labels"],
        queries: Float[Tensor, "batch points dims"] | None = None,
        *,
        instruction: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch points *labels"]:
        if queries is not None:
            raise ValueError("separate queries are asked prefix by prefix, by answer")
        embedded, _ = self.streams(xs, ys, None, instruction)
        read = _hidden(self.backbone, embedded)[:, self.instruction_tokens :: self.tokens_per_point]
        with exactly(read):
            return self.as_labels(F.linear(read.to(self.read_out.dtype), self.read_out, self.read_out_bias))


def _is_matrix(name: str, value: Tensor) -> bool:
    return name.startswith("backbone.") and value.ndim == 2 and not any(word in name for word in ("wpe", "embed"))


def _library() -> Any:
    try:
        # Not an import statement, for which mypy would read all of transformers: half a minute.
        return importlib.import_module("transformers")
    except ImportError:
        raise UserError(
            "the model 'huggingface' needs Hugging Face's transformers, which is not installed",
            key="model",
            way_out=f"install the extra: {EXTRAS['transformers'].install}",
        ) from None


def _config(architecture: str, fields: Mapping[str, Any]) -> Any:
    """The library's config object. UserError for a class or a field that it doesn't know."""
    return copy.deepcopy(_known_config(architecture, json.dumps(fields, sort_keys=True)))


@functools.lru_cache(maxsize=64)
def _known_config(architecture: str, written: str) -> Any:
    library, fields = _library(), json.loads(written)
    kind: Any = getattr(library, architecture, None)
    if not (isinstance(kind, type) and issubclass(kind, library.PretrainedConfig)):
        known = [name for name in dir(library) if name.endswith("Config") and name != "PretrainedConfig"]
        raise UserError(
            f"expected the name of a config class of transformers {library.__version__}, such as 'LlamaConfig', found "
            f"{architecture!r}{_closest_class(architecture, known)}",
            key=_ARCHITECTURE,
        )
    try:
        default = kind()
    except Exception as error:
        raise UserError(f"{architecture} has no defaults: {_words(error)}", key=_ARCHITECTURE) from error
    names = {*default.to_dict(), *inspect.signature(kind).parameters, *default.attribute_map}
    names -= {"self", "kwargs", "transformers_version", "model_type"}
    for name in fields:
        if name not in names:
            raise UserError(f"{architecture} has no field {name!r}{did_you_mean(name, names)}", key=_FIELD)
    off: dict[str, Any] = {
        name: 0.0 for name in default.to_dict() if "drop" in name and isinstance(getattr(default, name), float)
    }
    off |= {name: value for name, value in _ALWAYS.items() if name in names}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return kind(**{**off, **fields})
    except Exception as error:
        raise UserError(f"{architecture} refuses these fields: {_words(error)}", key=_FIELD) from error


def _closest_class(architecture: str, known: Sequence[str]) -> str:
    """The config class that a text may mean, which may say ``llama``, ``Llama`` or ``LlamaModel`` as well."""
    plain = re.sub("(config|model|forcausallm|[-_ ])", "", architecture.lower())
    same = [name for name in known if name.removesuffix("Config").lower() == plain]
    return f"; did you mean {same[0]!r}?" if same else did_you_mean(architecture, known)


def _backbone(architecture: str, fields: Mapping[str, Any]) -> nn.Module:
    """The library's network, freshly drawn from torch's global generator, without its vocabulary."""
    try:
        network = _network(architecture, fields)
    except Exception as error:
        raise UserError(f"{architecture} cannot be built: {_words(error)}", key=_FIELD) from error
    _expect_vectors(architecture, network)
    network.set_input_embeddings(nn.Module())  # type: ignore[operator]
    return network.float().eval()


def _network(architecture: str, fields: Mapping[str, Any]) -> nn.Module:
    config = _config(architecture, fields)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network: nn.Module = _library().AutoModel.from_config(config)
    return network


def _expect_room(architecture: str, fields: Mapping[str, Any]) -> None:
    """UserError for a network that takes no vectors, or is too large for this machine, before any of it is made.

    Defaults of the library are often those of published models. An architecture that cannot be laid out without its
    weights is not looked at.
    """
    _config(architecture, fields)
    try:
        with torch.device("meta"):
            network = _network(architecture, fields)
    except Exception:
        return
    _expect_vectors(architecture, network)
    weights = sum(value.numel() for value in network.parameters())
    if 4 * weights * _COPIES > (memory := machine_memory()):
        raise UserError(
            f"{architecture} with these fields has {weights / 1e9:,.1f} billion weights, and training takes {_COPIES} "
            f"numbers for each, {4 * weights * _COPIES / 1e9:,.0f} GB; this machine has {memory / 1e9:,.0f} GB",
            key=_FIELD,
            way_out="say how large it is to be, as in fields = {hidden_size = 64, num_hidden_layers = 3}",
        )


def _expect_vectors(architecture: str, network: nn.Module) -> None:
    if "inputs_embeds" not in inspect.signature(network.forward).parameters:
        raise UserError(
            f"{architecture} builds a {type(network).__name__}, which takes no inputs_embeds: it reads no vectors",
            key=_ARCHITECTURE,
            way_out="choose an architecture whose forward takes inputs_embeds, such as LlamaConfig",
        )


def _width(network: nn.Module) -> int:
    width: object = getattr(network.config, "hidden_size", None)
    if not isinstance(width, int):
        raise UserError(f"{type(network.config).__name__} does not say its hidden_size", key=_ARCHITECTURE)
    return width


def _hidden(network: nn.Module, embedded: Float[Tensor, "b t w"]) -> Float[Tensor, "b t w"]:
    # Some architectures keep a cache unless each call says that they should not.
    hidden: Tensor = network(inputs_embeds=embedded, use_cache=False).last_hidden_state
    return hidden


@functools.lru_cache(maxsize=64)
def _probed(architecture: str, fields: str, n: int) -> None:
    """UserError for a network that doesn't answer n vectors by vectors, or whose answers depend on later ones."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        _expect_room(architecture, json.loads(fields))
        network = _backbone(architecture, json.loads(fields))
        tokens = torch.randn(2, n, _width(network))
        # No shift of all numbers alike, which a layer norm would take out.
        later = torch.cat([tokens[:, : n - 1], torch.randn(2, 1, tokens.shape[-1])], dim=1)
        try:
            found, other = _hidden(network, tokens), _hidden(network, later)
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"{architecture} cannot be asked by inputs_embeds alone: {_words(error)}", key=_ARCHITECTURE
            ) from error
    if found.shape != tokens.shape:
        raise UserError(
            f"{architecture} answers {tuple(tokens.shape)} tokens by {tuple(found.shape)}, expected as many",
            key=_ARCHITECTURE,
        )
    if not torch.allclose(found[:, : n - 1], other[:, : n - 1], atol=1e-5, rtol=1e-4):
        raise UserError(
            f"{architecture} looks at later tokens, so it would see the labels that it is asked for",
            key=_ARCHITECTURE,
            way_out="choose a causal architecture, such as GPT2Config, or a field that makes it one, such as "
            "is_decoder = true",
        )


def _words(error: Exception) -> str:
    """What the library says, on one line, cut where it goes on for long."""
    return textwrap.shorten(" ".join(str(error).split()), 300, placeholder=" ...") or type(error).__name__
