"""Expressions as text embeddings: k vectors of each stand behind the text, at any strength.

What is learnt are the vectors alone, in the place where a UNet reads a text, as textual inversion
(Gal et al. 2022, https://arxiv.org/abs/2208.01618) learns a word, but behind the text encoder: so
no word has to mean the expression, and what is told is a number. Of weights w, one an expression,

    E(w) = E_neutral + Σ w_e (E_e - E_neutral)

stands behind the text's states: a line from neutral through every expression, along which strength
grows and beyond whose end it is exaggerated, and mixtures as sums. (Between the texts of two
expressions PixelSmile, https://arxiv.org/abs/2603.25728, goes along such a line too.) A base that
reads a pooled text as well is told Σ w_e (P_e - P_neutral) more in it: neutral leaves it as it is.

The UNet keeps its class, its parameters and their names: for its cross-attentions a text is k
states longer. Nothing told is the base, to the bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin, UNet2DConditionModel
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from transformers import CLIPTextModel

from sfe_core.controls.asked_expression import MOST_STRENGTH
from sfe_core.diffusion.guidance import GuidanceBank
from sfe_core.diffusion.guidance_files import EXPRESSIONS_FOLDER
from sfe_core.diffusion.guided_unet import Added, GuidedUNet, Told
from sfe_core.diffusion.unet_calls import UNetOutput, calls_through, rows_of
from sfe_core.diffusion.weight_files import misfit
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import RunError, UserError

NEUTRAL = "neutral"
VECTORS = 4
_REMEDY = "give the folder that sfe wrote, whole"

# ---- What is asked -------------------------------------------------------------------------------


def expression_weights(names: Sequence[str], asked: Sequence[Mapping[str, float]]) -> Tensor:
    """What is asked of B pictures as weights [B, E].

    Args:
        names: of the expressions, in the order of the embeddings'.
        asked: of each picture, name to strength, 0 to 1.5; nothing, or "neutral" alone, is neutral.

    Raises:
        UserError: a name is not known, or a strength out of range.
    """
    weights = torch.zeros(len(asked), len(names))
    for row, wanted in enumerate(asked):
        for name, strength in wanted.items():
            if name not in names:
                raise UserError(
                    "expressions", f"{name!r} is not known", f"known: {', '.join(names)}"
                )
            if not 0 <= strength <= MOST_STRENGTH:
                raise UserError(
                    f"expressions: {name}", f"{strength:g}", f"give 0 to {MOST_STRENGTH:g}"
                )
            weights[row, list(names).index(name)] = strength
    return weights


def whole_expressions(names: Sequence[str], shown: Iterable[object]) -> Tensor:
    """Weights [B, E] of pictures that show the whole of one expression each.

    Args:
        names: of the expressions, in the order of the embeddings'.
        shown: of each picture, a name; one that is not known is neutral.
    """
    return expression_weights(names, [{str(one): 1.0} if one in names else {} for one in shown])


@dataclass(frozen=True)
class ExpressionStates:
    """What stands behind B texts.

    Attributes:
        states: [B, k, D].
        pooled: [B, P], what is added to the pooled texts; None in a family without.
    """

    states: Tensor
    pooled: Tensor | None = None

    def rows(self, rows: slice) -> ExpressionStates:
        """Of some of the pictures."""
        return ExpressionStates(
            self.states[rows], None if self.pooled is None else self.pooled[rows]
        )

    def behind(self, states: Tensor, pooled: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Of texts [B, L, D] and pooled [B, P]: these with the expressions, [B, L + k, D]."""
        longer = torch.cat([states, self.states.to(states)], dim=1)
        if pooled is None or self.pooled is None:
            return longer, pooled
        return longer, pooled + self.pooled.to(pooled)


# ---- The network ---------------------------------------------------------------------------------


class ExpressionEmbeddings(ModelMixin, ConfigMixin):
    """k vectors of each expression, for a base whose text is as wide as they are.

    Args:
        names: of the expressions, "neutral" among them.
        vectors: k.
        width: D of the text's states.
        pooled_width: P of the pooled text; 0 in a family without.
        longest: Euclidean length beyond which a vector is shortened before it is told; 0: none is.
        base: name of the base model that they were learnt on; "" where none is known.
        base_sha256: its hash, see `hashing.hash_base`.
    """

    @register_to_config
    def __init__(
        self,
        names: Sequence[str] = EMOTIONS,
        vectors: int = VECTORS,
        width: int = 768,
        pooled_width: int = 0,
        longest: float = 0.0,
        base: str = "",
        base_sha256: str = "",
    ) -> None:
        super().__init__()
        if NEUTRAL not in names or len(set(names)) < len(names):
            raise UserError(
                EXPRESSIONS_FOLDER,
                f"{', '.join(names)}: every name once, and {NEUTRAL} among them",
                "strength begins there",
            )
        self.states = nn.Parameter(torch.zeros(len(names), vectors, width))
        pooled = nn.Parameter(torch.zeros(len(names), pooled_width)) if pooled_width else None
        self.register_parameter("pooled", pooled)

    @property
    def names(self) -> tuple[str, ...]:
        """The expressions, in order."""
        return tuple(self.config["names"])

    def forward(self, weights: Tensor) -> ExpressionStates:
        """What weights [B, E] put behind B texts; that of neutral has no part in it."""
        weights, states = weights.to(self.states), self.told_states
        return ExpressionStates(
            torch.einsum("be,ekd->bkd", weights, self._from_neutral(states))
            + states[self._neutral],
            None if self.pooled is None else weights @ self._from_neutral(self.pooled),
        )

    def appended(
        self, states: Tensor, weights: Tensor, pooled: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Texts [B, L, D] and pooled [B, P] with expressions [B, E]: [B, L + k, D] and [B, P]."""
        return self(weights).behind(states, pooled)

    @property
    def told_states(self) -> Tensor:
        """[E, k, D], none longer than `longest`."""
        longest = self.config["longest"]
        if not longest:
            return self.states
        # Vectors that a UNet never met make it draw what no face is, and only length drifts so far.
        return self.states.flatten(0, 1).renorm(2, 0, longest).view_as(self.states)

    def _from_neutral(self, vectors: Tensor) -> Tensor:
        return vectors - vectors[self._neutral]

    @property
    def _neutral(self) -> int:
        return self.names.index(NEUTRAL)

    def check_fits(self, width: int, pooled_width: int | None = None, where: str = "") -> None:
        """See that texts are as wide as these.

        Args:
            width: of a base's text states (`cross_attention_dim` of its UNet).
            pooled_width: of its pooled text, 0 without; None is not looked at.
            where: the field or option that named these.

        Raises:
            UserError: they are not; says how wide.
        """
        own = self.config["width"], self.config["pooled_width"]
        wanted = width, own[1] if pooled_width is None else pooled_width
        if own != wanted:
            base = self.config["base"] or "another base"
            raise UserError(
                where or EXPRESSIONS_FOLDER,
                f"is for texts {_widths(*own)} (learnt on {base}), and this base's are "
                f"{_widths(*wanted)}",
                "take expressions that were learnt on this base",
            )


def _widths(width: int, pooled: int) -> str:
    return f"{width} wide, pooled {pooled}" if pooled else f"{width} wide"


def load_embeddings(folder: Path, dtype: torch.dtype = torch.float32) -> ExpressionEmbeddings:
    """What `save_pretrained` wrote, every tensor in its place.

    Raises:
        UserError: it is not there, or a tensor is missing, unknown or of another shape.
    """
    folder = Path(folder)
    try:
        problem = misfit(folder, ExpressionEmbeddings, _config(folder))
        if problem is None:
            return ExpressionEmbeddings.from_pretrained(
                folder, torch_dtype=dtype, local_files_only=True
            ).eval()
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, RunError) as error:
        problem = str(error)
    raise UserError(folder, f"holds no expressions that can be read: {problem}", _REMEDY)


def _config(folder: Path) -> Mapping[str, Any]:
    config = ExpressionEmbeddings.load_config(folder, local_files_only=True)
    if config.get("_class_name") != ExpressionEmbeddings.__name__:
        raise ValueError(f"its config.json is of {config.get('_class_name')}")
    return config


# ---- Training ------------------------------------------------------------------------------------


class ExpressiveUNet(GuidedUNet):
    """A `GuidedUNet` whose `conditions` are weights of expressions, [B, E].

    Which of its parts train is what their parameters say.
    """

    def __init__(
        self,
        unet: UNet2DConditionModel,
        bank: GuidanceBank,
        text_encoder: CLIPTextModel | None = None,
        expressions: ExpressionEmbeddings | None = None,
    ) -> None:
        super().__init__(unet, bank, text_encoder)
        self.expressions = expressions

    def told(self, text: Tensor, added: Added, conditions: Tensor | None) -> Told:
        """See `GuidedUNet`; `conditions` is [B, E], None: no expression stands behind the texts."""
        states = self.text_states(text)
        if conditions is not None:
            assert self.expressions is not None
            added = dict(added or {})
            states, pooled = self.expressions.appended(states, conditions, added.get("text_embeds"))
            if pooled is not None:
                added["text_embeds"] = pooled
        return states, added or None, None


# ---- Drawing -------------------------------------------------------------------------------------


@contextmanager
def expressions_told(
    unet: UNet2DConditionModel,
    told: ExpressionStates,
    neutral: ExpressionStates,
    guidance: float | None = None,
    text_guidance: float = 1.0,
) -> Iterator[None]:
    """Within the block, any pipeline of diffusers draws B pictures with these expressions.

    With a guidance scale of its own beside the text's, as two conditions have in Brooks et al. 2023
    (https://arxiv.org/abs/2211.09800, eq. 3), expression is drawn stronger or weaker than the text:
    with e(text, expression) for the prediction,

        e(∅, neutral) + text_guidance (e(text, neutral) - e(∅, neutral))
                      + guidance (e(text, told) - e(text, neutral)).

    That costs one more prediction of B pictures a step; where both scales are the same it does not.

    What is told beside (action units) may be entered inside this block: it sees the UNet as one
    that knows expressions.

    Args:
        unet: as it lies in the pipeline.
        told: of B pictures.
        neutral: of as many.
        guidance: scale of the expression; None: that of the text. 0 is neutral.
        text_guidance: the `guidance_scale` that the pipeline is given; where it is 1 or less, the
            pipeline asks for no pair, and it counts as 1.
    """
    inner = unet.forward
    count = len(told.states)
    share = 1.0 if guidance is None else guidance / max(text_guidance, 1.0)

    def forward(
        sample: Tensor,
        timestep: Any,
        encoder_hidden_states: Tensor,
        *args: Any,
        return_dict: bool = True,
        **more: Any,
    ) -> Any:
        if len(sample) not in (count, 2 * count):
            raise ValueError(f"expressions of {count} pictures for a batch of {len(sample)}")
        half = slice(len(sample) - count, None)  # the whole, where there is no pair

        def predict(rows: slice, *expressions: ExpressionStates) -> Tensor:
            cut_time, cut_args, cut = rows_of((timestep, args, more), rows, len(sample))
            added = dict(cut.pop("added_cond_kwargs", None) or {})
            states, pooled = _joined(expressions).behind(
                encoder_hidden_states[rows], added.get("text_embeds")
            )
            if pooled is not None:
                added["text_embeds"] = pooled
            options = {**cut, "added_cond_kwargs": added} if added else cut
            return inner(sample[rows], cut_time, states, *cut_args, return_dict=False, **options)[0]

        whole, rest = slice(None), [neutral] * (len(sample) // count - 1)
        result = predict(whole, *rest, told if share == 1 else neutral)
        if share not in (0, 1):
            without = result[half]
            mixed = without + share * (predict(half, told) - without)
            result = torch.cat([result[: half.start], mixed])
        return UNetOutput(result) if return_dict else (result,)

    with calls_through(unet, forward):
        yield


def _joined(several: Sequence[ExpressionStates]) -> ExpressionStates:
    pooled = [one.pooled for one in several if one.pooled is not None]
    return ExpressionStates(
        torch.cat([one.states for one in several]), torch.cat(pooled) if pooled else None
    )
