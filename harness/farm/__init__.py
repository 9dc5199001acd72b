"""Devices that hang on many hosts: a Dask scheduler, a worker a host, and each case a task where its device is.

Needs the extra `farm` (Dask's distributed).
"""
