"""`winnow warmup`: compile kernels before a run needs them."""

from __future__ import annotations

from pipelines.cli.app import Workers, app, say


@app.command()
def warmup(workers: Workers = None) -> None:
    """Compile the kernels of this machine, in parallel processes, so that no run has to wait for them."""
    from pipelines.commands.warmup import warm_up

    say(f"Kernels are compiled, in {warm_up(workers, say):.1f} s.")
