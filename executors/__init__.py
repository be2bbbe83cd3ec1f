"""How a task is run: adapters know their platform, the middle runs and cleans up, the top is pure.

The law of this room, in three layers of files:

* Adapters (`process_group`, with its stand-alone `launcher`; `docker_api`, `docker_stream`, `docker_ping`) alone know
  their platform, and nothing of Formicary.
* The middle (`shell`, `http`, `docker` with its `docker_…`, `dummy`) turns what the top says into something that runs,
  waits for it, passes on what it writes, and cleans up: when the scope around a `run` is left, for whatever reason,
  nothing of the task is alive.
* The top (`shell_script`, `inside`, `docker_spec`) turns a task into what the middle needs. It is pure: no file, no
  process, no clock.

`contract` is what the ant sees of all this, `registry` finds the executor of a method and imports it on first use,
`shapes` holds the five shapes of structured concurrency. Timeouts are scopes that the ant puts around calls; there is
none in here, except bounds on cleanup.
"""
