"""ONNX to Caffe2."""
