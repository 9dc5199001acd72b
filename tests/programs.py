"""Starting programs, interrupting them, and waiting for their end."""

#: Goes before a command: Ctrl-C ends it. Who runs the tests in the background has that signal ignored, and so would
#: have what they start.
HEARS_CTRL_C = ("env", "--default-signal=INT")

#: What has not come by then hangs: on a busy machine all takes long.
PATIENCE_S = 240.0
