"""Many cascades: plan, claim, run anywhere, record on disk.

In reading order: `work_log` (what a worker says), `flown` (how far flights are), `claims` (who works on what),
`tasks` (each done by whoever claims it first), `plan` (cascades with all directions worked out), `index` (what is
finished, fast), `rundir` (the folder that is the truth), `contents` (what is in it, read once); readers of it:
`kick_events`, `verify`, `export`, `scene` (a cascade as it is looked at), `status`, `listing`; one piece of work:
`task`, in processes (`slots`) that are watched (`supervise`); `reproduce` (one cascade again); who does the work:
`executors`, `dask_executor`, `slurm`.
"""
