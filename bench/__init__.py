"""Load, crash and speed: the product in *core* mode, an open-loop generator, and what it measures.

`core_stack` starts everything, `core_process` is a worker whose outside world answers in process,
`book` is what that world remembers, `generator` requests contributions at a rate.
"""
