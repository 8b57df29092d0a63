"""What is shown of a run while it goes: a dozen figures, as words."""

from __future__ import annotations

from sfe_core.losses.composite import TERMS


def live_figures(
    numbers: dict[str, float], images_per_s: float, memory_bytes: int, skipped: int
) -> dict[str, str]:
    """The figures of an update, in the order to show them.

    Args:
        numbers: what `update` returned; weighted terms are shown, as they add up to the loss.
        images_per_s: since the last line of metrics.jsonl.
        memory_bytes: the most held so far.
        skipped: updates skipped so far; shown if there are any.
    """
    figures = {}
    if numbers:
        figures["loss"] = f"{numbers['total']:.4f}"
        for name in TERMS:
            if f"weighted/{name}" in numbers:
                figures[name] = f"{numbers[f'weighted/{name}']:.4f}"
        figures["gradient"] = f"{numbers['gradient_norm']:.3g}"
        rates = {name[3:]: rate for name, rate in numbers.items() if name.startswith("lr/")}
        figures["learning rate"] = " / ".join(
            f"{rate:.3g}" for rate in dict.fromkeys(rates.values())
        )
    figures["images/s"] = f"{images_per_s:.1f}" if images_per_s < 100 else f"{images_per_s:.0f}"
    figures["memory"] = f"{memory_bytes / 1e9:.2f} GB"
    if skipped:
        figures["skipped"] = str(skipped)
    return figures
