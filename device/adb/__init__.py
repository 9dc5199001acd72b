"""Devices behind adb."""
