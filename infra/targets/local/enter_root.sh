#!/bin/sh
# enter_root.sh ROOT COMMAND...: chroot, with the kernel's file systems mounted there. The mounts are in a namespace of
# their own that ends with the command: whatever kills it, none is left, and no `rm` can go through them. What is in /run
# lasts from one command to the next, as it does on a machine, but beside the root and not in it.
exec unshare --mount --propagation private sh -eu -c '
    mount -t proc proc "$1/proc"
    mount -t sysfs -o ro sysfs "$1/sys"
    mount --rbind /dev "$1/dev"
    mkdir -p "$1.run"
    mount --bind "$1.run" "$1/run"
    exec chroot "$@"
' enter "$@"
