"""How far HAI's answers are from PyTorch's and ONNX Runtime's, on real photos."""
