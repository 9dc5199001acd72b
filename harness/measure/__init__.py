"""How records are got: networks, devices, runs."""
