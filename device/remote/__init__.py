"""What devices that are reached through a shell have in common: commands, a cache of files, the device itself."""
