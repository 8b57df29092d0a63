"""Help texts: what a command does, then examples that can be typed as they stand."""

from __future__ import annotations

from rich.markup import escape


def with_examples(text: str, *examples: str) -> str:
    """`text` followed by one example a line; each example is `command` or `command  # meaning`."""
    pairs = [example.partition("  # ")[::2] for example in examples]
    width = max((len(command) for command, meaning in pairs if meaning), default=0)
    lines = []
    for command, meaning in pairs:
        tail = f"  [dim]# {escape(meaning)}[/dim]" if meaning else ""
        lines.append(f"  [cyan]{escape(command.ljust(width))}[/cyan]{tail}")
    return f"{text}\n\n\b\n[bold]Examples[/bold]\n" + "\n".join(lines)
