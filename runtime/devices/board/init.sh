#!/bin/busybox sh
# The first process of the board: devices, network, and SSH for the key that the kernel was started with.
/bin/busybox mkdir -p /proc /sys /dev /tmp /run /usr/bin /usr/sbin /sbin
/bin/busybox --install -s
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
chmod 1777 /tmp /dev/shm
exec </dev/console >/dev/console 2>&1

for module in virtio virtio_ring virtio_mmio failover net_failover virtio_net; do
    insmod /lib/modules/$module.ko
done
hostname board
ip link set lo up
ip link set eth0 up
ip address add 10.0.2.15/24 dev eth0 # where QEMU's user network looks for its guest

umask 077
mkdir -p /root/.ssh /etc/dropbear
sed -n 's/.*slimedge\.key=\([^ ]*\).*/ssh-ed25519 \1/p' /proc/cmdline >/root/.ssh/authorized_keys
key=$(dropbearkey -t ed25519 -f /etc/dropbear/key | grep '^ssh-ed25519' | cut -d' ' -f1,2)
umask 022
dropbear -m -s -j -k -r /etc/dropbear/key
echo "slimedge board: $key"

mkfifo /run/never
while :; do
    read -r _ </run/never # nobody writes there, and the first process must not end
done
