"""Networks that HAI is measured on, written in PyTorch, and their export to ONNX.

`python -m bench.models` (from the root of the checkout) exports all of them; `catalogue.py` lists them. The weights are
random but behave like trained ones: see `settle.py`.
"""
