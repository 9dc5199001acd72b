"""ONNX to ncnn."""
