# SPDX-License-Identifier: Apache-2.0

# The first process of a guest that boot.py starts, once its root is there.
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
mount -t cgroup2 none /sys/fs/cgroup
hostname parley
ulimit -n 65536
# A second serial port, or one of virtio's.
events=/dev/ttyS1
for port in /dev/vport*; do [ -e "$port" ] && events=$port; done
[ $events != /dev/ttyS1 ] || stty -F $events raw -echo
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
python3 -B /mnt/run_cases.py --tree /mnt --out $events $(sed 's/.* -- //' /proc/cmdline)
sync
echo o >/proc/sysrq-trigger
sleep 60
