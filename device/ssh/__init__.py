"""Devices over ssh: an address, commands by the system's OpenSSH client, a device."""
