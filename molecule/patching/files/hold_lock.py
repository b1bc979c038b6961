"""Hold dpkg's lock as another package run would, until killed."""

import fcntl
import time

with open("/var/lib/dpkg/lock-frontend", "r+") as file:  # noqa: PTH123
    fcntl.lockf(file, fcntl.LOCK_EX)
    time.sleep(3600)
