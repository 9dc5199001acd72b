#!/bin/busybox sh
# The first process of an emulated board: brings up what a phone has ready when adb reaches it.
export PATH=/usr/bin:/usr/sbin:/system/bin HOME=/root TERM=vt100
/bin/busybox --install -s /usr/bin

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /tmp /data /run
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /tmp
exec </dev/console >/dev/console 2>&1

while read -r module; do
  insmod "/modules/$module" || echo "board: module $module was not loaded"
done </modules/order

# Booted with maxcpus=1 (four emulated cores coming up at once take half a minute): the rest join now.
for switch in /sys/devices/system/cpu/cpu[1-9]*/online; do
  [ -e "$switch" ] && echo 1 >"$switch"
done

hostname "$(getprop ro.tenpass.board)"
ifconfig lo up
ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up

# A pass may take longer than the kernel lets a process of real-time priority run in one go.
echo -1 >/proc/sys/kernel/sched_rt_runtime_us
# Threads of that priority that wait for one another awake: the shortest turns that there are.
echo 4 >/proc/sys/kernel/sched_rr_timeslice_ms

# What is pushed outlives a power-off once `sync` has been called. Without it nothing is written back: neither by
# the kernel's flusher nor by the journal, for both would do so in the middle of a timed pass.
echo 0 >/proc/sys/vm/dirty_writeback_centisecs
if mount -t ext4 -o noatime,noinit_itable,commit=86400 /dev/vda /data; then
  mkdir -p /data/local/tmp
else
  echo "board: the data disk cannot be mounted"
  poweroff -f
fi

# The sshd beside adbd lets in who has the key that the kernel's command line names. Its own key is made once per data
# disk; the console says it, so that nobody need trust what answers on the port.
sshd=/data/misc/ssh
chmod 755 /  # else the sshd trusts no file below it
mkdir -p /run/ssh "$sshd"
if [ ! -s "$sshd/host_key" ]; then
  dropbearkey -t ed25519 -f "$sshd/host_key" >/dev/null 2>&1
  sync
fi
echo "ssh-ed25519 $(sed -n 's/.*\<tenpass.key=\([^ ]*\).*/\1/p' /proc/cmdline)" >/run/ssh/authorized_keys
echo "board: ssh host key $(dropbearkey -y -f "$sshd/host_key" 2>/dev/null | grep '^ssh-ed25519')"
dropbear -E -s -j -k -m -p 22 -r "$sshd/host_key" -D /run/ssh -P /run/ssh/pid

cd /
while true; do
  echo "board: starting adbd"
  ADBD_PORT=5555 /usr/lib/android-sdk/platform-tools/adbd
  echo "board: adbd ended with status $?"
  sleep 1
done
