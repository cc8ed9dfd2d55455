#!/bin/busybox sh
# The first process of the machine: makes the file systems, runs the script, hands over what it left, and waits to be ended.
/bin/busybox --install -s /bin
ln -sf /usr/bin/dash /bin/sh # busybox's own prefers its applets to programs in PATH
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root VIPD_VM=1 CI=true
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mkdir -p /dev/pts /dev/shm
mount -t devpts pts /dev/pts
mount -t tmpfs run /run
mkdir -p /run/netns /run/lock
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tracefs trace /sys/kernel/tracing
modprobe virtio_pci
modprobe virtio_console
. /vm/modules
ip link set lo up
until [ -c /dev/vport0p1 ] && [ -c /dev/vport0p2 ]; do sleep 0.01; done
exec 8>/dev/vport0p1 9>/dev/vport0p2
cd /vm
dash /vm/script </dev/null >&8 2>&8 8>&- 9>&-
printf '\n%s %d\n' "$(cat /vm/mark)" $? >&8
tar -c -C /out . >&9
exec 9>&-
while :; do sleep 1000; done
