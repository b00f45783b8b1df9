from shared.runtime.process.migrations import run_env

run_env()
