"""PyTorch to ONNX, simpler ONNX, and what it costs."""
