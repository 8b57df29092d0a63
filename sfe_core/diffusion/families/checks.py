"""What every latent diffusion model that predicts noise is refused for, told by configurations."""

from __future__ import annotations

from sfe_core.diffusion.families.contract import BaseConfigs
from sfe_core.errors import UserError

# Of a noise schedule; the rest of a scheduler's configuration only says how it draws.
SCHEDULE_FIELDS = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "prediction_type",
    "rescale_betas_zero_snr",
    "timestep_spacing",
)
_INPAINTING, _SD2_TEXT = 9, 1024


def check_latent_diffusion(base: BaseConfigs, where: str, text_width: int | None) -> None:
    """Refuse a base whose UNet, VAE, text encoders and scheduler do not go together.

    Args:
        base: its configurations.
        where: the field or option it came from.
        text_width: numbers per token of all its text encoders together.

    Raises:
        UserError: says what was found and what to do.
    """

    def refuse(problem: str, remedy: str) -> UserError:
        return UserError(f"{where}: {base.place}", problem, remedy)

    unet, vae = base.of("unet"), base.of("vae")
    latent = vae.get("latent_channels", 4)
    taken, given = unet.get("in_channels", 4), unet.get("out_channels", 4)
    if taken == _INPAINTING:
        raise refuse(
            f"is an inpainting model (its UNet takes {taken} channels)",
            "give the model it was made from",
        )
    if taken != latent or given != latent:
        raise refuse(
            f"its VAE has {latent} latent channels, and its UNet takes {taken} and gives {given}",
            "give a base whose UNet and VAE belong together",
        )
    wanted = unet.get("cross_attention_dim", 1280)
    if wanted == _SD2_TEXT:
        raise refuse("is Stable Diffusion 2", "give Stable Diffusion 1.5 or XL")
    if text_width != wanted:
        raise refuse(
            f"its text encoder gives {text_width} numbers a token, and its UNet takes {wanted}",
            "give a base whose text encoder and UNet belong together",
        )
    check_noise_prediction(base, where)


def check_noise_prediction(base: BaseConfigs, where: str) -> None:
    """Refuse a base whose scheduler is one of flow matching.

    Raises:
        UserError: it is.
    """
    scheduler = base.of("scheduler")
    kind = str(scheduler.get("_class_name", ""))
    flow = scheduler.get("prediction_type") == "flow_prediction" or scheduler.get("use_flow_sigmas")
    if kind.startswith("Flow") or flow:
        raise UserError(
            f"{where}: {base.place}",
            f"is a flow-matching model (its scheduler is {kind}), and this recipe learns to "
            "predict noise",
            "give a base that predicts noise or v",
        )
