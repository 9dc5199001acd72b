"""ONNX files from others."""
