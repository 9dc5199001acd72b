"""`python -m harness.farm`; the commands are in harness/cli/farm.py."""

from harness.cli.farm import main

main()
