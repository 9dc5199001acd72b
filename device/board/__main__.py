"""Boots an emulated board and leaves it up: `python -m device.board`."""

from __future__ import annotations

import sys

from device.board.lifecycle import main

sys.exit(main())
