"""What a run does where nobody says otherwise."""

from __future__ import annotations

from models.paper import table6_device

#: The paper's (section 5.3); and what two runs on a computer need to be told apart (measured: analyse/slower.py).
PASSES, PASSES_TO_COMPARE, FEWEST_ROUNDS_TO_COMPARE = table6_device().passes, 100, 3

#: A choice: estimates of passes that have settled hardly differ, and each takes the emulator its time.
PASSES_OF_ESTIMATES = 3

#: Choices: for a case on a device, and for the device to cool before it.
TIMEOUT_S: float = 600
COOL_TIMEOUT_S = 600.0
