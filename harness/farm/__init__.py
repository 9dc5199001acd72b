"""Devices that hang on many hosts: a Dask scheduler, a worker a host, and sessions sent to the one with the device.

Needs the extra `farm` (Dask's distributed).
"""
