"""Channel local convolution blocks in ONNX graphs."""
