"""Training measured beside PyTorch: one module a table, run by `./dev bench` or with `python -m bench.training.NAME`."""
