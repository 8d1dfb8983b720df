"""The mix: drawn, written once, with its manifest and dataset card.

Doors: `job.mix_job(prepared, epochs)`, `materialize.materialize(engine, job, …)`, `manifest.write_mix_manifest`,
`card.write_card(run_dir)`.
"""
