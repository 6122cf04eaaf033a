"""Job files for batch services: one module a service, each a function from a Job to the files it takes.

What they have in common: one GPU a task, the volumes /out and /cache, time to save after a signal, and retries for what
a retry can cure and for nothing else.
"""
