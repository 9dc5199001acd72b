"""Building programs, starting and interrupting them, and waiting for their end."""

import pytest

#: Goes before a command: Ctrl-C ends it. Who runs the tests in the background has that signal ignored, and so would
#: have what they start.
HEARS_CTRL_C = ("env", "--default-signal=INT")

#: What has not come by then hangs: on a busy machine all takes long.
PATIENCE_S = 240.0

#: How our C++ is built: as users have it, and with the sanitizers, which find more (null pointers apart, on which a
#: process ends without them) and take a minute to build.
BUILDS = [pytest.param("", id="plain"), pytest.param("-asan", id="sanitizers", marks=pytest.mark.long)]
