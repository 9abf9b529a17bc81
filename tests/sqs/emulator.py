"""Starts moto_server, the emulator of SQS that the tests use.

Its threads look for a message and take it in two steps, so two polls that wake up together may both be
given the same one. SQS may do that too, but it seldom does, and tests would fail by chance: here a thread
that runs is hardly ever made to stop between the two.
"""

import sys

from moto.server import main

SWITCH_AFTER_SECONDS = 0.2

if __name__ == "__main__":
    sys.setswitchinterval(SWITCH_AFTER_SECONDS)
    main(sys.argv[1:])
